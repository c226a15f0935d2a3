"""What `clamp3` can be told to do: options and help. The work is done by the layers."""
