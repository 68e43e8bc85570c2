#!/usr/bin/env bash
# Conv-TasNet on two-speaker mixtures, one experiment for each upsampler of the decoder. Every stage can
# be run again and does only what is missing.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: ./run.sh [options] [-- options of train.py]

  --librimix_dir DIR    metadata of LibriMix as Asteroid's recipe makes it: DIR/{train-100,dev,test}
  --demo                instead: render mixtures of two voices, and train models small enough for two
                        CPU cores
  --stage N             first stage (default 0): 0 data, 1 train,
  --stop_stage N        last stage (default 3)      2 evaluate, 3 table
  --upsampler NAMES     such as nearest, or transposed,nearest,tone_free (default: all of the table)
  --tag NAME            folder of the experiments below the experiment root (default librimix or demo)
  --id GPUS             GPUs to use, such as 0,1 (default: all there are)
  --exp_root DIR        where experiments go (default: exp beside this script)
  --data_root DIR       where rendered mixtures go (default: data beside this script)
  --python PATH         Python to use (default python)
TEXT
}

fail() { echo "error: $1" >&2; exit 2; }

librimix_dir= demo=false stage=0 stop_stage=3 tag= id=all python=python
upsampler=transposed,subpixel,tone_free,nearest,linear
here=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
exp_root=$here/exp data_root=$here/data

while [ $# -gt 0 ]; do
  case $1 in
    --) shift; break ;;
    -h | --help) usage; exit 0 ;;
    --demo) demo=true; shift ;;
    --librimix_dir | --stage | --stop_stage | --tag | --upsampler | --id | --exp_root | --data_root | \
      --python)
      [[ $# -gt 1 && -n $2 && $2 != --* ]] || fail "$1 needs a value"
      declare "${1#--}=$2"; shift 2 ;;
    *) fail "unknown option $1 (./run.sh --help lists them; options of train.py go behind --)" ;;
  esac
done
[[ $stage =~ ^[0-3]$ && $stop_stage =~ ^[0-3]$ && $stage -le $stop_stage ]] ||
  fail "stages are 0 to 3 and in order, not $stage to $stop_stage"
[[ $id =~ ^(all|[0-9]+(,[0-9]+)*|(GPU|MIG)-[A-Za-z0-9/,-]+)$ ]] || fail "--id is '$id': must be numbers of GPUs, such as 0,1"
[[ $upsampler =~ ^[a-z_]+(,[a-z_]+)*$ ]] || fail "--upsampler is '$upsampler', must be names separated by commas"
[[ $tag =~ ^[A-Za-z0-9._-]*$ && $tag != . && $tag != .. ]] || fail "--tag is '$tag', must be letters, digits and . _ -"
[ $demo = true ] || [ -n "$librimix_dir" ] || fail "--librimix_dir DIR or --demo is needed"
[ $demo = false ] || [ -z "$librimix_dir" ] || fail "--librimix_dir and --demo exclude each other"

absolute() { case $1 in /*) printf '%s' "$1" ;; *) printf '%s' "$PWD/$1" ;; esac; }
exp_root=$(absolute "$exp_root") data_root=$(absolute "$data_root")
case $python in /*) ;; */*) python=$(absolute "$python") ;; esac
[ "$id" = all ] || export CUDA_VISIBLE_DEVICES=$id
if [ $demo = true ]; then
  tag=${tag:-demo}
  train_dir=$data_root/demo/metadata/train valid_dir=$data_root/demo/metadata/dev
  test_dir=$data_root/demo/metadata/test
  sizes=(--n_filters 64 --n_blocks 4 --n_repeats 2 --bn_chan 32 --skip_chan 32 --hid_chan 64)
  sizes+=(--epochs 12 --batch_size 8 --num_workers 0 --segment 2 --lr 0.003 --early_stop 0)
else
  librimix_dir=$(absolute "${librimix_dir%/}") tag=${tag:-librimix} sizes=()
  train_dir=$librimix_dir/train-100 valid_dir=$librimix_dir/dev test_dir=$librimix_dir/test
fi
cd -- "$here"
"$python" -c 'import asteroid_upsamplers' 2>/dev/null ||
  fail "--python $python: cannot run Python with asteroid_upsamplers; name the one it is installed in"
names=()
IFS=, read -ra names <<<"$upsampler"
exp_dirs=()
for name in "${names[@]}"; do exp_dirs+=("$exp_root/$tag/$name"); done

runs() { [ "$stage" -le "$1" ] && [ "$stop_stage" -ge "$1" ]; }
say() { echo "== stage $1: $2" >&2; }

if runs 0 && [ $demo = true ]; then
  say 0 "data"
  "$python" local/render_mixtures.py "$data_root/demo"
fi

if runs 1; then
  for name in "${names[@]}"; do
    say 1 "train $name"
    # a transposed convolution that cannot make a tone of a constant, whatever it learns
    row=(--upsampler "$name")
    [ "$name" != tone_free ] || row=(--upsampler transposed --upsampler_kwargs '{"tone_free": true}')
    "$python" train.py --exp_dir "$exp_root/$tag/$name" --train_dir "$train_dir" \
      --valid_dir "$valid_dir" "${sizes[@]}" "${row[@]}" "$@"
  done
fi

if runs 2; then
  for exp_dir in "${exp_dirs[@]}"; do
    say 2 "evaluate $(basename "$exp_dir")"
    "$python" eval.py --exp_dir "$exp_dir" --test_dir "$test_dir"
  done
fi

if runs 3; then
  say 3 "table"
  "$python" local/table.py "${exp_dirs[@]}" --out "$exp_root/$tag/table"
fi
