"""What share of a training's time the network waits for its batches.

    python benchmarks/input_pipeline.py [--samples 1280]

One epoch of the training loop on each kind of data, after one to warm up: images in memory with a crop and a flip,
JPEG files in a folder and in tar shards (256 x 256 crops of two photographs, to 64 x 64 by a random resized crop). The
network is Meta-SpikeFormer 0.4m at T = 1, the fastest one there is here: every other has more time to read ahead in.
"""

from __future__ import annotations

import argparse
import io
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

from neuro.conversion.networks import build_spiking, load_data
from neuro.experiments.spec import TrainSpec, resolve_train_spec
from neuro.training import TrainingSettings, train


def main() -> None:
    """Print one line for each kind of data."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1280)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        photographs(place, args.samples)
        crop = {"resized_crop": [0.3, 1.0]}
        report("in memory, 28x28", "fashion-mnist", 28, {"crop_flip": 2}, args.samples)
        report("JPEG files, 64x64", f"folder:{place / 'files'}", 64, crop, args.samples)
        report("tar shards, 64x64", f"shards:{place / 'shards'}", 64, crop, args.samples)


def photographs(place: Path, count: int) -> None:
    """Write crops of two photographs as files of two classes, and the same as tar files."""
    pictures = [np.asarray(image) for image in load_sample_images().images]
    generator = np.random.default_rng(0)
    (place / "shards").mkdir()
    for part, number in (("train", count), ("val", 32)):
        with tarfile.open(place / "shards" / f"{part}-0.tar", "w") as tar:
            for index in range(number):
                label = index % 2
                top, left = generator.integers(0, [427 - 256, 640 - 256])
                written = io.BytesIO()
                Image.fromarray(pictures[label][top : top + 256, left : left + 256]).save(written, "JPEG", quality=90)
                path = place / "files" / part / str(label) / f"{index}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(written.getvalue())
                entry = tarfile.TarInfo(f"{label}/{index}.jpg")
                entry.size = len(written.getvalue())
                tar.addfile(entry, io.BytesIO(written.getvalue()))


def report(what: str, name: str, side: int, augment: dict[str, object], samples: int) -> None:
    """Train two epochs and tell how long the second one waited."""
    spec: TrainSpec = resolve_train_spec(
        {
            "model": {"variant": "0.4m", "timesteps": 1, "overrides": {"strides": [2, 2, 2, 1]}},
            "data": {"name": name, "image_size": side, "augment": augment, "train_limit": samples, "test_limit": 32},
        }
    )
    dataset = load_data(spec)
    settings = TrainingSettings(epochs=2, batch_size=128, channels_last=True)
    last = train(build_spiking(spec, dataset), dataset, settings, progress=None)[-1]
    share = 1 - last.waited_seconds / last.seconds
    print(f"{what:18}  {samples / last.seconds:7.0f} images/s, {100 * share:6.2f} % of the time computing", flush=True)


if __name__ == "__main__":
    main()
