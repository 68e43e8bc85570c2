#!/usr/bin/env bash
# The MUSDB18 experiments of Pons et al. (ICASSP 2021), stage by stage: Demucs-like models and the
# other systems of its Table 1. Every stage can be run again and does only what is missing.
set -euo pipefail

usage() {
  cat <<'EOF'
usage: ./run.sh [options] [-- options of train.py]

data
  --musdb18_dir DIR     MUSDB18 (.stem.mp4) or MUSDB18-HQ (wav)
  --download_sample     instead: fetch musdb's own 7-second excerpts of MUSDB18
  --sources LIST        stems of each song of a wav set (default: drums,bass,other,vocals)
  --skip_bad_songs      leave out songs that cannot be used, and say which (default: stop)
  --demo                instead: render demo songs, and train models small enough for two CPU cores
what to train
  --upsampler NAME      upsampling layer (default: the model's own; transposed in DemucsLike)
  --modified true|false the modification of Fig. 9 (default false; DemucsLike only)
  --variant NAME        instead of these two: a file of local/variants, or all (Table 1's six)
  --model NAME          DemucsLike (default), Demucs, WaveUNet, OpenUnmix, CrossNetOpenUnmix (X-UMX),
                        SamsNet, MusicConvTasNet, or all (one of each)
  --size NAME           full (default, Table 1's size), or a file of local/sizes
stages
  --stage N             first stage (default 0): 0 data, 1 train, 2 separate, 3 evaluate,
  --stop_stage N        last stage (default 5)      4 artifacts, 5 report
  --dry_run             print parameters, memory, songs and steps of stage 1, and stop
how to separate (stage 2; eval.py --help)
  --chunk SECONDS, --overlap SHARE, --shifts N, --batch N
how to score (stage 3; eval.py --help)
  --metrics SDR         SDR alone (default: SDR,ISR,SIR,SAR)
  --scorer museval      museval itself: the same scores, many times as slow
where, and on what
  --tag NAME            folder of the experiments in the experiment root (default: set and size)
  --exp_root DIR        where experiments go (default: exp beside this script)
  --data_root DIR       where songs go (default: data beside this script)
  --id GPUS             GPUs to use, such as 0,1 (default: all there are)
  --num_nodes N         machines that train together, this script started on each by SLURM's srun
  --torchrun OPTIONS    instead: start stage 1 with torchrun, such as "--nproc_per_node 4
                        --max_restarts 3", also on several machines (docs/scaling.md)
  --workers N           songs scored at a time (default: one a core); lower it if memory runs out
  --python PATH         Python to use (default python)
EOF
}

fail() { echo "error: $1" >&2; exit 2; }
names() { (cd "$1" && ls | sed 's/\.yml$//' | tr '\n' ' '); }
absolute() { case $1 in /*) printf '%s' "$1" ;; *) printf '%s' "$PWD/$1" ;; esac; }

# asked to end: when the command that runs has put its things away (SLURM asks all processes)
trap 'exit 143' TERM

here=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
musdb18_dir= download_sample=false demo=false skip_bad_songs=false stage=0 stop_stage=5 tag= id=all dry_run=
model=DemucsLike upsampler= modified=false variant= size= python=python num_nodes= torchrun= sources=
exp_root=$here/exp data_root=$here/data separate=() score=()
while [ $# -gt 0 ]; do
  case $1 in
    --) shift; break ;;
    -h | --help) usage; exit 0 ;;
    --dry_run) dry_run=--dry_run; shift; continue ;;
    --demo | --download_sample | --skip_bad_songs) declare "${1#--}=true"; shift; continue ;;
    --torchrun) [ $# -gt 1 ] || fail "$1 needs a value"; torchrun=$2; shift 2; continue ;;
  esac
  [[ $1 == --* ]] || fail "unexpected word '$1'"
  case $1 in
    --chunk | --overlap | --shifts | --batch | --metrics | --scorer | --musdb18_dir | --sources | --stage | --stop_stage | --tag | --model | --upsampler | \
      --modified | --variant | --size | --id | --num_nodes | --exp_root | --data_root | --workers | --python) ;;
    *) fail "unknown option $1 (./run.sh --help lists them; options of train.py go behind --)" ;;
  esac
  [[ $# -gt 1 && -n $2 && $2 != --* ]] || fail "$1 needs a value"
  case $1 in
    --chunk | --overlap | --shifts | --batch) separate+=("$1" "$2") ;;
    --metrics | --scorer | --workers) score+=("$1" "$2") ;;
    *) declare "${1#--}=$2" ;;
  esac
  shift 2
done

[[ $stage =~ ^[0-5]$ && $stop_stage =~ ^[0-5]$ && $stage -le $stop_stage ]] ||
  fail "--stage and --stop_stage must be 0 to 5 and in order, not $stage to $stop_stage"
[[ $id =~ ^(all|[0-9]+(,[0-9]+)*|(GPU|MIG)-[A-Za-z0-9/,-]+)$ ]] || fail "--id is '$id': must be numbers of GPUs, such as 0,1"
[[ $upsampler =~ ^[a-z_]*$ ]] || fail "--upsampler is '$upsampler': must be letters and _"
[[ $modified =~ ^(true|false)$ ]] || fail "--modified is '$modified': must be true or false"
[[ $num_nodes =~ ^([1-9][0-9]*)?$ ]] || fail "--num_nodes is '$num_nodes': must be at least 1"
[[ $sources =~ ^[A-Za-z0-9_,-]*$ ]] || fail "--sources is '$sources': must be names with commas between"
[[ $tag =~ ^[A-Za-z0-9._-]*$ && $tag != . && $tag != .. ]] || fail "--tag is '$tag': must be letters, digits and . _ -"
[ -z "$torchrun" ] || [ -z "$num_nodes" ] || fail "--torchrun and --num_nodes exclude each other"
[ -z "$variant" ] || [ "$upsampler/$modified" = /false ] || fail "--variant excludes --upsampler and --modified"
[ -z "$musdb18_dir" ] || [ $demo$download_sample = falsefalse ] ||
  fail "--musdb18_dir, --demo and --download_sample exclude each other"

exp_root=$(absolute "$exp_root") data_root=$(absolute "$data_root")
case $python in /*) ;; */*) python=$(absolute "$python") ;; esac
if [ $demo = true ]; then
  musdb18_dir=$data_root/demo size=${size:-demo} tag=${tag:-demo} songs="demo songs"
elif [ $download_sample = true ]; then
  musdb18_dir=$data_root/musdb18-7s songs="MUSDB18, 7-second excerpts"
else
  musdb18_dir=$(absolute "${musdb18_dir:-$data_root/musdb18}")
  musdb18_dir=${musdb18_dir%/} songs=$(basename "$musdb18_dir")
fi
set_dirs=(--musdb18_dir "$musdb18_dir" --wav_dir "$data_root/wav/$(basename "$musdb18_dir")")
song_set=("${set_dirs[@]}")
[ $skip_bad_songs = false ] || song_set+=(--skip_bad_songs)
size=${size:-full}
[ -n "$tag" ] || tag=$(basename "$musdb18_dir" | tr -c 'A-Za-z0-9._\n-' _)_$size
[ "$id" = all ] || export CUDA_VISIBLE_DEVICES=$id
cd -- "$here"

known() { [[ $1 =~ ^[A-Za-z0-9_]+$ ]] && [ -e "$2/$1${3-}" ]; }
[ "$size" = full ] || known "$size" local/sizes .yml || fail "unknown size '$size'. Known: full $(names local/sizes)"
[[ $model =~ ^(all|Demucs)$ ]] || known "$model" local/models ||
  fail "unknown model '$model'. Known: all Demucs $(names local/models)"
if [ "$model" != DemucsLike ]; then
  [ -z "$variant" ] && [ "$modified" = false ] || fail "--variant and --modified are DemucsLike's"
  [ -z "$upsampler" ] || [[ $model != all && $model != Demucs ]] ||
    fail "--upsampler is for one model whose upsampler can be chosen, not for $model"
fi

# A row is a model and, of DemucsLike, a variant; its folder has the variant's name, else the model's.
systems=(DemucsLike/transposed DemucsLike/demucs WaveUNet OpenUnmix CrossNetOpenUnmix SamsNet MusicConvTasNet)
table_1=(transposed nearest linear subpixel transposed_modified subpixel_modified)
options=("${set_dirs[@]}" --skip_bad_songs $skip_bad_songs ${sources:+--sources "[$sources]"} ${num_nodes:+--num_nodes "$num_nodes"})
case $model/$variant in
  all/) rows=("${systems[@]}") ;;
  Demucs/) rows=(DemucsLike/demucs) ;;
  DemucsLike/all) rows=("${table_1[@]/#/DemucsLike/}") ;;
  DemucsLike/)
    upsampler=${upsampler:-transposed} variant=${upsampler:-transposed}
    [ "$modified" = false ] || variant=${upsampler}_modified
    # a row that Table 1 does not have is a variant all the same: the two options say all of it
    [ -f "local/variants/$variant.yml" ] || options+=(--upsampler "$upsampler" --modified "$modified")
    rows=("DemucsLike/$variant") ;;
  DemucsLike/*)
    known "$variant" local/variants .yml || fail "unknown variant '$variant'. Known: all $(names local/variants)"
    rows=("DemucsLike/$variant") ;;
  *)
    rows=("$model${upsampler:+/${model}_$upsampler}")
    [ -z "$upsampler" ] || options+=(--upsampler "$upsampler") ;;
esac
"$python" -c 'import asteroid_upsamplers' 2>/dev/null ||
  fail "--python $python: cannot run Python with asteroid_upsamplers; name the one it is installed in"
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

[ -z "$dry_run" ] || stage=1 stop_stage=1
# Whether a stage is to be run; if so, says it. Where that cannot be written (a full disk), all ends:
# a stage must not be left out for it.
stage() {
  [ "$stage" -le "$1" ] && [ "$stop_stage" -ge "$1" ] || return 1
  echo "== stage $1: $2" >&2 || exit 1
}
run() { "$python" "$@"; }

if stage 0 data; then
  from=()
  [ $demo = false ] || from=(--demo)
  [ $download_sample = false ] || from=(--download_sample)
  run local/prepare_data.py "${song_set[@]}" ${sources:+--sources "$sources"} "${from[@]}"
fi

if stage 1 train; then
  train=(train.py)
  # torchrun would hand the addresses of dead processes to those that it starts again: by its rendezvous
  # of one machine always, by the other one unless told so (pytorch/pytorch#135712)
  export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
  [[ -z $torchrun || $torchrun =~ --(standalone|rdzv|nnodes) ]] || torchrun="--standalone $torchrun"
  # shellcheck disable=SC2206 # options are words
  [ -z "$torchrun" ] || train=(-m torch.distributed.run $torchrun train.py)
  for row in "${rows[@]}"; do
    echo "${row#*/}" >&2
    mapfile -t files < <(files_of "$row")
    run "${train[@]}" --exp_dir "$exp_root/$tag/${row#*/}" "${files[@]}" "${options[@]}" $dry_run "$@"
  done
fi

if stage 2 separate; then run eval.py separate "${song_set[@]}" "${separate[@]}" "${exp_dirs[@]}"; fi
if stage 3 evaluate; then run eval.py score "${song_set[@]}" "${score[@]}" "${exp_dirs[@]}"; fi
if stage 4 artifacts; then run eval.py artifacts "${song_set[@]}" "${score[@]}" "${exp_dirs[@]}"; fi
if stage 5 report; then
  title="Systems of Table 1"
  [ "$model" != DemucsLike ] || title="Demucs-like models"
  run -m asteroid_upsamplers.cli report "${exp_dirs[@]}" --out "$exp_root/$tag/report" --title "$title ($size) on $songs"
fi
