"""One module per command: options in, exit status out. Thinking lives in the packages below."""
