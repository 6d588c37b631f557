"""From a row of any shape to a conversation: which format it has, what each column is, and the turning."""
