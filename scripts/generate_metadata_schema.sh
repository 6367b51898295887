#!/bin/sh
# Makes tflite_tools/flatbuffer/metadata_schema_generated.py of the schema of TFLite Metadata, which
# the wheel of mediapipe brings (Apache License 2.0), by the FlatBuffers compiler (Debian's package
# flatbuffers-compiler).
#
#   sh scripts/generate_metadata_schema.sh
set -eu
cd "$(dirname "$0")/.."
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
command -v flatc >/dev/null || { echo "Install flatc: apt-get install flatbuffers-compiler" >&2; exit 1; }
"${PYTHON:-python3}" -m pip download --quiet --no-deps --dest "$place" "mediapipe>=1.2,<2"
unzip -q -j "$place"/mediapipe-*.whl mediapipe/tasks/metadata/metadata_schema.fbs -d "$place"
flatc --python --gen-object-api --gen-onefile -o "$place" "$place/metadata_schema.fbs" 2>/dev/null
made=tflite_tools/flatbuffer/metadata_schema_generated.py
{
    echo '"""Tables of TFLite Metadata, schema 1.5.0: made by scripts/generate_metadata_schema.sh."""'
    echo '# The schema: Copyright 2022 The MediaPipe Authors, Apache License 2.0.'
    cat "$place"/metadata_schema_generated.py
} > "$place/made"
mv "$place/made" "$made"
echo "Wrote $made."
