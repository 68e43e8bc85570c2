#!/usr/bin/env bash
# The MUSDB18 experiments of Pons et al. (ICASSP 2021), stage by stage: Demucs-like models and the
# other systems of its Table 1. Every stage can be run again and does only what is missing.
set -euo pipefail

usage() {
  cat <<'EOF'
usage: ./run.sh [options] [-- options of train.py]

  --musdb18_dir DIR     MUSDB18 (.stem.mp4) or MUSDB18-HQ (wav)
  --download_sample     instead: fetch musdb's own 7-second excerpts of MUSDB18
  --demo                instead: render demo songs, and train models small enough for two CPU cores
  --stage N             first stage (default 0): 0 data, 1 train, 2 separate, 3 evaluate,
  --stop_stage N        last stage (default 5)      4 artifacts, 5 report
  --tag NAME            folder of the experiments below the experiment root (default: set and size)
  --model NAME          DemucsLike (default), Demucs, WaveUNet, OpenUnmix, CrossNetOpenUnmix (X-UMX),
                        SamsNet, MusicConvTasNet, or all (one of each)
  --upsampler NAME      upsampling layer (default: the model's own, transposed in DemucsLike)
  --modified true|false the modification of Fig. 9 (default false; DemucsLike only)
  --variant NAME        instead of the two above: a file of local/variants, or all (Table 1's six)
  --size NAME           full (default, Table 1's size), or a file of local/sizes
  --dry_run             print parameters, memory, data and steps of stage 1 (after stage 0), and stop
  --id GPUS             GPUs to use, such as 0,1 (default: all there are)
  --num_nodes N         machines that train together, this script started on each by SLURM's srun
  --torchrun OPTIONS    instead: start stage 1 with torchrun, such as "--nproc_per_node 4
                        --max_restarts 3", also on several machines (docs/scaling.md)
  --exp_root DIR        where experiments go (default: exp beside this script)
  --data_root DIR       where songs go (default: data beside this script)
  --shifts N            stage 2: average over N random delays (default 0)
  --chunk SECONDS       stage 2: what is separated at a time (default 10)
  --overlap SHARE       stage 2: share of a chunk that it has in common with the next (default 0.25)
  --batch N             stage 2: chunks that go through the network at once (default 1)
  --workers N           songs scored at a time (default: one a core); lower it if memory runs out
  --python PATH         Python to use (default python)
EOF
}

fail() { echo "error: $1" >&2; exit 2; }

# asked to end: when the command that runs has put its things away (SLURM asks all processes)
trap 'exit 143' TERM

musdb18_dir= download_sample=false demo=false dry_run= stage=0 stop_stage=5 tag= id=${CUDA_VISIBLE_DEVICES-}
model=DemucsLike upsampler= modified=false variant= size= python=python workers= num_nodes= torchrun= separate=()
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exp_root=$here/exp data_root=$here/data

while [ $# -gt 0 ]; do
  case $1 in
    --) shift; break ;;
    -h | --help) usage; exit 0 ;;
    --dry_run) dry_run=--dry_run; shift ;;
    --demo | --download_sample) declare "${1#--}=true"; shift ;;
    --musdb18_dir | --stage | --stop_stage | --tag | --model | --upsampler | --modified | --variant | --size | \
      --id | --num_nodes | --exp_root | --data_root | --workers | --python)
      [[ $# -gt 1 && $2 != --* ]] || fail "$1 needs a value"
      declare "${1#--}=$2"; shift 2 ;;
    --shifts | --chunk | --overlap | --batch)
      [[ $# -gt 1 && $2 != --* ]] || fail "$1 needs a value"
      separate+=("$1" "$2"); shift 2 ;;
    --torchrun) [ $# -gt 1 ] || fail "$1 needs a value"; torchrun=$2; shift 2 ;;
    *) fail "unknown option $1 (./run.sh --help lists them; options of train.py go behind --)" ;;
  esac
done
[[ $stage =~ ^[0-5]$ && $stop_stage =~ ^[0-5]$ ]] || fail "stages are 0 to 5, not $stage to $stop_stage"
[[ $upsampler =~ ^[a-z_]*$ ]] || fail "--upsampler is '$upsampler', allowed are letters and _"
[[ $modified =~ ^(true|false)$ ]] || fail "--modified is '$modified', allowed is true or false"
[[ $num_nodes =~ ^([1-9][0-9]*)?$ ]] || fail "--num_nodes is '$num_nodes', allowed is a number from 1 up"
[[ $tag =~ ^[A-Za-z0-9._-]*$ && $tag != . && $tag != .. ]] || fail "--tag is '$tag', allowed are letters, digits and . _ -"
[ $((${#musdb18_dir} > 0)) -eq 0 ] || { [ $demo = false ] && [ $download_sample = false ]; } ||
  fail "--musdb18_dir, --demo and --download_sample exclude each other"

absolute() { case $1 in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac; }
exp_root=$(absolute "$exp_root") data_root=$(absolute "$data_root")
case $python in /*) ;; */*) python=$(absolute "$python") ;; esac
if [ $demo = true ]; then
  musdb18_dir=$data_root/demo size=${size:-demo} tag=${tag:-demo} songs="demo songs"
elif [ $download_sample = true ]; then
  musdb18_dir=$data_root/musdb18-7s songs="MUSDB18, 7-second excerpts"
elif [ -n "$musdb18_dir" ]; then
  musdb18_dir=$(absolute "${musdb18_dir%/}") songs=$(basename "$musdb18_dir")
else
  musdb18_dir=$data_root/musdb18 songs=musdb18
fi
wav_dir=$data_root/wav/$(basename "$musdb18_dir")
size=${size:-full}
[ -n "$tag" ] || tag=$(basename "$musdb18_dir" | tr -c 'A-Za-z0-9._\n-' _)_$size
[ -z "$id" ] || export CUDA_VISIBLE_DEVICES=$id
cd "$here"

names() { (cd "$1" && ls | sed 's/\.yml$//' | tr '\n' ' '); }
options=(--musdb18_dir "$musdb18_dir" --wav_dir "$wav_dir")
[ -z "$num_nodes" ] || options+=(--num_nodes "$num_nodes")
[ "$size" = full ] || [ -f "local/sizes/$size.yml" ] ||
  fail "unknown size '$size'. Known: full $(names local/sizes)"
case $model in
  all | Demucs) ;;
  *) [[ $model =~ ^[A-Za-z]+$ && -d local/models/$model ]] ||
    fail "unknown model '$model'. Known: all Demucs $(names local/models)" ;;
esac
if [ "$model" != DemucsLike ]; then
  [ -z "$variant" ] && [ "$modified" = false ] || fail "--variant and --modified are DemucsLike's"
  [ -z "$upsampler" ] || [[ $model != all && $model != Demucs ]] ||
    fail "--upsampler is for one model whose upsampler can be chosen, not for $model"
fi

# A row is a model and, of DemucsLike, a variant; its folder has the variant's name, else the model's.
systems=(DemucsLike/transposed DemucsLike/demucs WaveUNet OpenUnmix CrossNetOpenUnmix SamsNet MusicConvTasNet)
table_1=(transposed nearest linear subpixel transposed_modified subpixel_modified)
case $model/$variant in
  all/) rows=("${systems[@]}") ;;
  Demucs/) rows=(DemucsLike/demucs) ;;
  DemucsLike/all) rows=("${table_1[@]/#/DemucsLike/}") ;;
  DemucsLike/)
    upsampler=${upsampler:-transposed}
    variant=$upsampler
    [ "$modified" = false ] || variant=${upsampler}_modified
    # a row of Table 1 that is not there is a variant all the same: the two options say all of it
    [ -f "local/variants/$variant.yml" ] || options+=(--upsampler "$upsampler" --modified "$modified")
    rows=("DemucsLike/$variant") ;;
  DemucsLike/*)
    [ -f "local/variants/$variant.yml" ] ||
      fail "unknown variant '$variant'. Known: all $(names local/variants)"
    rows=("DemucsLike/$variant") ;;
  *)
    rows=("$model${upsampler:+/${model}_$upsampler}")
    [ -z "$upsampler" ] || options+=(--upsampler "$upsampler") ;;
esac
title="Demucs-like models"
[ "$model" = DemucsLike ] || title="Systems of Table 1"
exp_dirs=()
for row in "${rows[@]}"; do exp_dirs+=("$exp_root/$tag/${row#*/}"); done

# The files of a row, each only what differs from those before it.
files_of() {
  local file class=${1%%/*} smaller=$size
  [ -f "local/models/$class/$size.yml" ] || smaller=small
  [ "$size" != full ] || smaller=
  for file in "models/$class/full" "variants/${1#*/}" "sizes/$size" ${smaller:+"models/$class/$smaller"}; do
    [ ! -f "local/$file.yml" ] || printf '%s\n' --variant "local/$file.yml"
  done
}

songs_from=(--musdb18_dir "$musdb18_dir" --wav_dir "$wav_dir")
[ -z "$dry_run" ] || stage=1 stop_stage=1
runs() { [ "$stage" -le "$1" ] && [ "$stop_stage" -ge "$1" ]; }
say() { echo "== stage $1: $2" >&2; }

if runs 0; then
  say 0 "data"
  prepare=("$python" -W ignore local/prepare_data.py "${songs_from[@]}")
  [ $demo = false ] || prepare+=(--demo)
  [ $download_sample = false ] || prepare+=(--download_sample)
  "${prepare[@]}"
fi

if runs 1; then
  train=("$python" -W ignore train.py)
  # torchrun would hand the addresses of dead processes to those that it starts again: by its rendezvous
  # of one machine always, by the other one unless told so (pytorch/pytorch#135712)
  export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
  [[ -z $torchrun || $torchrun =~ --(standalone|rdzv|nnodes) ]] || torchrun="--standalone $torchrun"
  # shellcheck disable=SC2206 # options are words
  [ -z "$torchrun" ] || train=("$python" -W ignore -m torch.distributed.run $torchrun train.py)
  for row in "${rows[@]}"; do
    say 1 "train ${row#*/}"
    mapfile -t files < <(files_of "$row")
    "${train[@]}" --exp_dir "$exp_root/$tag/${row#*/}" "${files[@]}" "${options[@]}" $dry_run "$@"
  done
fi

if runs 2; then
  say 2 "separate"
  "$python" -W ignore eval.py separate "${exp_dirs[@]}" "${songs_from[@]}" ${separate[@]+"${separate[@]}"}
fi

if runs 3; then
  say 3 "evaluate"
  "$python" -W ignore eval.py score "${exp_dirs[@]}" "${songs_from[@]}" ${workers:+--workers "$workers"}
fi

if runs 4; then
  say 4 "artifacts"
  "$python" -W ignore eval.py artifacts "${exp_dirs[@]}" "${songs_from[@]}"
fi

if runs 5; then
  say 5 "report"
  "$python" -W ignore -m asteroid_upsamplers.cli report "${exp_dirs[@]}" \
    --out "$exp_root/$tag/report" --title "$title ($size) on $songs"
fi
