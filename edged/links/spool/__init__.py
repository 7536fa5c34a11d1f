"""The durable outbox: what must reach the fleet is on disk before anybody is told, and stays until it has arrived."""
