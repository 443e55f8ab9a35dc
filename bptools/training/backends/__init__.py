"""Where the training itself is done: one file per library."""
