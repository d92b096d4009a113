"""Settings that prepare images, from a published processor and back to one."""

import pytest

from mdm.interop import image_processor

HALF = ((0.5,) * 3, (0.5,) * 3)
CLIP = {"size": {"shortest_edge": 25}, "do_center_crop": True, "crop_size": 20}
JUNK = (None, "x", -1, 2.5, True, [], {}, [1], {"a": 1}, float("nan"), 10**20)
NAMES = ("size", "image_mean", "image_std", "do_resize", "do_rescale",
         "rescale_factor", "do_normalize", "do_center_crop", "crop_size")  # fmt: skip


def read(processor, channels=3):
  data = {"image_size": (20, 20), "channels": channels}
  return image_processor.read_processor(processor, data, HALF)


def test_a_processor_is_what_prepares_images():
  method, data = read({"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 2, 3]})
  assert method == {"mean": (0.1, 0.2, 0.3), "deviation": (1.0, 2.0, 3.0)}
  assert data["crop"] == "stretch" and data["name"] == "images"
  assert read(None)[0]["mean"] == (0.5, 0.5, 0.5)
  bare, _ = read({"do_normalize": False, "size": 20})
  assert (bare["mean"], bare["deviation"]) == ((0.0,), (1.0,))
  _, middle = read(CLIP)
  assert (middle["crop"], middle["crop_share"]) == ("center", 0.8)
  grey, data = read(None, channels=1)
  assert grey["mean"] == (0.5,) and data["channels"] == 1


@pytest.mark.parametrize("given", [None, CLIP, {"image_mean": [0.1, 0.2, 0.3]}])
def test_written_and_read_again_is_the_same(given):
  method, data = read(given)
  written = image_processor.write_processor(method, {"crop_share": 1.0} | data)
  assert read(written) == (method, data)


@pytest.mark.parametrize("crop", [{}, CLIP])
@pytest.mark.parametrize("junk", JUNK, ids=repr)
def test_whatever_stands_in_a_processor_is_taken_or_refused_in_one_sentence(junk, crop):
  taken, refused = [], []
  for name in NAMES:
    for given in (junk, {"shortest_edge": junk}, {"height": junk, "width": 20}):
      try:
        taken.append(read({**crop, name: given}))
      except ValueError as error:
        refused.append(str(error))
  assert len(refused) >= 12
  assert all("preprocessor_config.json" in x and "\n" not in x for x in refused)
  for method, data in taken:
    assert min(method["deviation"]) > 0 and 0 < data.get("crop_share", 1.0) <= 1


@pytest.mark.parametrize(
  ("processor", "answer"),
  [
    ({"do_resize": False}, "do_resize = False of preprocessor_config.json is not done"),
    ({"rescale_factor": 1.0}, "rescale_factor = 1.0 of preprocessor"),
    ({"image_std": [0.5, 0.5, 0]}, "must be numbers above 0; mend it"),
    ({"image_mean": "x"}, "image_mean = 'x' of preprocessor_config.json must be n"),
    (
      {"size": 24},
      "makes images of 24 x 24 pixels and config.json has image_size = 20",
    ),
    ({"size": {"height": 20, "width": 24}}, "images of 20 x 24 pixels"),
    (CLIP | {"crop_size": {"height": 24, "width": 24}}, "images of 24 x 24 pixels"),
    (CLIP | {"size": {"shortest_edge": 10}}, "leaves no middle of 20 x 20"),
    ({"size": {"shortest_edge": 20}}, "do_center_crop = False is not done here"),
    ({"size": 20, "do_center_crop": True}, "do_center_crop = True is not done here"),
  ],
)
def test_a_processor_that_does_otherwise_is_refused(processor, answer):
  with pytest.raises(ValueError, match=answer) as error:
    read(processor)
  assert "\n" not in str(error.value)


def test_a_middle_whose_sides_differ_has_no_name_there():
  method, data = read(None)
  data |= {"image_size": (20, 24), "crop": "center", "crop_share": 1.0}
  with pytest.raises(ValueError, match=r"to 20 x 24 pixels has no name"):
    image_processor.write_processor(method, data)
