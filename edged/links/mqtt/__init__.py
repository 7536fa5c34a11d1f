"""MCP on MQTT 5, and the device's state for whoever watches the broker.

What is published and understood is decided purely (topics, peers, answers, brokers); one module knows the library.
"""
