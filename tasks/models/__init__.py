"""Classification networks, each in a module of its name."""
