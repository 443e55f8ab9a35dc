"""The edge of the process and the pipe: streams, sources, records, output, errors, options."""
