"""Screenshots: recording real runs, and exporting pictures of every step from what was recorded."""
