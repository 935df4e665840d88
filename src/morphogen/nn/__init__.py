"""Networks: backbones, conditioning, normalization. They know shapes, not families."""
