"""Speed and memory as ratios, measured in one run: `make bench` (`DATA=FILE.jsonl` adds a file of your own)."""
