"""Studies: a space of networks, algorithms and chips, the front of what they cost, and the file that keeps both."""
