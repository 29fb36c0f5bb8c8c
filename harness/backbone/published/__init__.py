"""The published backbones, such as `self-forcing` and `longlive`: their files, text encoder, VAE and adapters."""
