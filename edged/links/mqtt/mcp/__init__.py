"""MCP on MQTT topics: the device's end, and the client's; both eras, JSON and CBOR."""
