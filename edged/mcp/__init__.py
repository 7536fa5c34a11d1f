"""The Model Context Protocol, sans-IO: bytes in, replies and events out.

Both protocol eras are served per request on one connection. This room knows nothing of models, power
or MQTT; what a device offers comes in as a `Catalog`. Only `session` imports asyncio.
"""
