"""How one loaded model answers, by the kind of its input. A pipeline belongs to one thread."""
