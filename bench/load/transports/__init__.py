"""How requests travel: connections, clients, and pools of them."""
