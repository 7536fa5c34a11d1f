"""What people are told of the device on the broker: status, samples, alerts, and Home Assistant's announcement."""
