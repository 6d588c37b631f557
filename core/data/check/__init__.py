"""Looks for what is wrong or odd in the rows before anything is trained; `screen.Screen` is the way in."""
