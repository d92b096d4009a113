"""Settings that make the reference problem of `image.mae` small."""

SMALL = (
  "model.encoder.width=16",
  "model.encoder.depth=1",
  "model.encoder.heads=2",
  "model.decoder.width=8",
  "model.decoder.depth=1",
  "model.decoder.heads=2",
  "data.image_size=(64, 64)",
  "train.batch=2",
)
