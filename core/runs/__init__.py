"""The life of a run: its folder, its events, its worker; shared by the worker and any number of screens."""
