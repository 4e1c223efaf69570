"""Learned encoders: each feature group, missing values included, to a vector; together, to the latent's logits."""
