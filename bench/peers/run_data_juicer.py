"""Data-Juicer on the benchmark corpus: python run_data_juicer.py CORPUS OUT WORKERS

`dj-process` as a user would run it, with its operators for the same work: repair (ftfy), HTML, white space, sensitive
data, length, symbols and repetition, exact and near copies (MinHash, 128 permutations, 0.8). Runs in Data-Juicer's own
virtual environment. Prints one JSON object; the texts kept are in OUT/kept.jsonl.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

# "character" is what its documentation recommends for Chinese; "sentencepiece", for several languages, wants a model
# that would have to be downloaded. A window of 3 is the middle between its English and Chinese habits.
PROCESS = """
  - fix_unicode_mapper:
  - clean_html_mapper:
  - whitespace_normalization_mapper:
  - pii_redaction_mapper:
      mask_paths: false
      mask_secrets: false
      mask_ids: false
      mask_channel_ids: false
      mask_platform_open_ids: false
      mask_macs: false
      mask_jwt: false
      mask_pem: false
      extra_patterns:
        - ['(?<![0-9A-Za-z])[3-6][0-9]{14,18}(?![0-9A-Za-z])', '[CARD_REDACTED]']
  - text_length_filter:
      min_len: 5
  - special_characters_filter:
      max_ratio: 0.6
  - character_repetition_filter:
      rep_len: 10
      max_ratio: 0.5
  - document_deduplicator:
      lowercase: true
  - document_minhash_deduplicator:
      tokenization: character
      window_size: 3
      num_permutations: 128
      jaccard_threshold: 0.8
"""


def main(corpus: Path, out: Path, workers: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    config = out / "config.yaml"
    config.write_text(
        f"project_name: bench\ndataset_path: {corpus}\nexport_path: {out}/kept.jsonl\nwork_dir: {out}\nnp: {workers}\n"
        f"use_cache: false\nds_cache_dir: {out}/cache\nopen_tracer: false\nopen_monitor: false\n"
        f"process:{PROCESS}"
    )
    started = time.monotonic()
    command = [str(Path(sys.executable).with_name("dj-process")), "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=out, check=False)
    if done.returncode:
        sys.exit((done.stdout + done.stderr)[-1500:])
    kept = [str(path) for path in sorted(out.glob("kept*.jsonl")) if "_stats" not in path.name]
    seconds = round(time.monotonic() - started, 3)
    print(json.dumps({"version": version("py-data-juicer"), "seconds": {"dj-process": seconds}, "kept": kept}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
