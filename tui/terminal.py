"""The terminal itself: whether the wizard can live in it, and leaving at once when it is gone."""

LEAST_COLUMNS = 60
LEAST_ROWS = 18
