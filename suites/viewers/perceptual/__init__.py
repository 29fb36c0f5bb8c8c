"""The perceptual viewer: LPIPS, DINOv2, CLIP and optical flow."""
