#!/usr/bin/env bash
# Songs of four stems from freely licensed MIDI music of Debian packages (midi_songs.tsv), and eight real
# recordings with guitar and rest. Packages are downloaded with apt and unpacked, not installed; root is
# not needed. What is there is kept.
set -euo pipefail

usage() {
  cat <<'EOF'
usage: local/midi_songs.sh DIR [--python PATH] [options of 'asteroid-upsamplers demo-data']
writes  DIR/packages            unpacked Debian packages
        DIR/midi                their MIDI files, as local/midi_songs.tsv deals them out
        DIR/songs/{train,test}  the set: run.sh --musdb18_dir DIR/songs
        DIR/recordings/test     eight real recordings: guitar, rest, and their sum as the mixture
EOF
}
fail() { echo "error: $1" >&2; exit 2; }

case ${1-} in -h | --help) usage; exit 0 ;; '' | -*) usage >&2; exit 2 ;; esac
mkdir -p -- "$1" || exit 2
root=$(cd -- "$1" && pwd) python=python
shift
if [ "${1-}" = --python ]; then [ $# -gt 1 ] || fail "--python needs a value"; python=$2; shift 2; fi
here=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
for command in apt-get dpkg-deb; do
  command -v $command >/dev/null || fail "$command is needed: this works on Debian and Ubuntu"
done
"$python" -c 'import asteroid_upsamplers' 2>/dev/null ||
  fail "--python $python: cannot run Python with asteroid_upsamplers; name the one it is installed in"

music=(freedoom openttd-openmsx planetblupi-music-midi simutrans-data)
recordings=(fretsonfire-songs-muldjord fretsonfire-songs-sectoid)
for package in "${music[@]}" "${recordings[@]}" fluid-soundfont-gm; do
  [ -d "$root/packages/$package" ] && continue
  echo "$package" >&2
  scratch=$root/packages/.$package.partial
  rm -rf -- "$scratch" && mkdir -p -- "$scratch/files"
  (cd -- "$scratch" && apt-get -q -o APT::Sandbox::User=root download "$package" >/dev/null) ||
    fail "$package: apt-get cannot download it; 'apt-get update', or enable Debian's section main"
  dpkg-deb -x "$scratch"/*.deb "$scratch/files" || fail "$package: cannot be unpacked into $root/packages"
  mv -- "$scratch/files" "$root/packages/$package" && rm -rf -- "$scratch"
done

"$python" "$here/midi_songs.py" "$root/packages" "$here/midi_songs.tsv" "$root/midi" "$root/recordings"
render() { "$python" -m asteroid_upsamplers.cli demo-data "$root/songs" --midi "$root/midi/$1" "${@:2}"; }
render TimGM6mb --seconds 120 "$@"
render FluidR3_GM --seconds 120 --soundfont "$root/packages/fluid-soundfont-gm/usr/share/sounds/sf2/FluidR3_GM.sf2" "$@"
