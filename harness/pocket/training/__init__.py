"""What the pocket and its probe are trained on, and in which stages."""
