"""What workers of one campaign share: devices, the order of cells, and what they agree on."""
