"""Finding copies of records: exact ones by keys, near ones by MinHash and true Jaccard similarity."""
