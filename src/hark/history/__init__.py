"""What people bought: facts, where they come from, and the graph that is made of them."""
