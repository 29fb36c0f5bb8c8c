"""The published backbones, `self-forcing` and `longlive`: their files, text encoder, VAE and adapters."""
