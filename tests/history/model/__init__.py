"""All interleavings of a load, the live stream, projectors and faults, searched in memory."""
