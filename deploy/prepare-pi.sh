#!/usr/bin/env bash
# Prepares a Raspberry Pi, from a fresh 64-bit Raspberry Pi OS, for a Wattchain meter or node: says every step and why,
# changes only what is not yet as it should be, keeps a copy of each file of the system that it changes. It may be run
# again at any time. docs/raspberry-pi.md goes through the whole way, from the box to the first reading.
set -euo pipefail
shopt -s lastpipe  # what counts changes at the end of a pipe counts them here

usage() {
  cat <<'TEXT'
sudo deploy/prepare-pi.sh [options]

  --dry-run         only say what would be done
  --no-serial       leave the serial port as it is: no measuring board on the Pi's header
  --keep-bluetooth  Bluetooth goes on, slower, on the small serial port
  --keep-logs       keep the system's log on the card, and not only in memory
  --person NAME     who may use serial ports and pins (by default who called sudo)
  --source FOLDER   the Wattchain sources to install (by default those that this script lies in)
  --root FOLDER     prepare a system that does not run and lies in this folder, such as a mounted card: files only
  --help
TEXT
}

ROOT=""
DRY_RUN=no
SERIAL=yes
BLUETOOTH=no
KEEP_LOGS=no
PERSON="${SUDO_USER:-}"
SOURCE="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV=/opt/wattchain
CHANGES=0
STEP=0

fail() {
  printf 'prepare-pi: %s\n' "$*" >&2
  exit 2
}

while [ $# -gt 0 ]; do
  case "$1" in
    --dry-run) DRY_RUN=yes ;;
    --no-serial) SERIAL=no ;;
    --keep-bluetooth) BLUETOOTH=yes ;;
    --keep-logs) KEEP_LOGS=yes ;;
    --person) PERSON="${2:?--person needs a name}"; shift ;;
    --source) SOURCE="${2:?--source needs a folder}"; shift ;;
    --root) ROOT="$(cd "${2:?--root needs a folder}" 2>/dev/null && pwd)" || fail "there is no folder $2"; shift ;;
    --help | -h) usage; exit 0 ;;
    *) usage >&2; fail "unknown option $1" ;;
  esac
  shift
done

step() {
  STEP=$((STEP + 1))
  printf '\n%d. %s\n' "$STEP" "$1"
}

note() { printf '   %s\n' "$*"; }

changed() {
  CHANGES=$((CHANGES + 1))
  if [ "$DRY_RUN" = yes ]; then note "would change: $*"; else note "changed: $*"; fi
}

# A command of the running system; in a dry run, or for a system that does not run, it is only said.
run() {
  if [ -n "$ROOT" ]; then
    note "left out, since the system in $ROOT does not run: $*"
  elif [ "$DRY_RUN" = yes ]; then
    note "would run: $*"
  else
    note "running: $*"
    "$@" || fail "this did not work: $*"
  fi
}

# put FILE MODE, with the content on standard input: the whole file, put in its place at once.
put() {
  local file="$ROOT$1" mode="$2" content temporary
  content="$(cat; printf x)"
  content="${content%x}"
  if [ -f "$file" ] && [ "$(cat "$file"; printf x)" = "${content}x" ]; then
    note "as it should be: $1"
    return
  fi
  changed "$1"
  [ "$DRY_RUN" = no ] || return 0
  mkdir -p "$(dirname "$file")"
  if [ -f "$file" ] && [ ! -e "$file.before-wattchain" ]; then
    cp -p "$file" "$file.before-wattchain"
    note "the old one is kept as $1.before-wattchain"
  fi
  temporary="$file.new-wattchain"
  printf '%s' "$content" >"$temporary"
  chmod "$mode" "$temporary"
  sync "$temporary"
  mv -f "$temporary" "$file"
  sync "$(dirname "$file")"
}

# Without what an earlier run of this script added to a file; a last line that does not end is ended.
without_block() {
  [ "$(grep -c '^# wattchain begin' "$1")" = "$(grep -c '^# wattchain end' "$1")" ] ||
    fail "in $1 a line \"# wattchain begin\" or \"# wattchain end\" is missing: put it back, or take both and what is between them away"
  sed -e '/^# wattchain begin/,/^# wattchain end/d' -e '$a\' "$1"
}

mask() {
  local link="/etc/systemd/system/$1"
  if [ "$(readlink "$ROOT$link" 2>/dev/null)" = /dev/null ]; then
    note "as it should be: $1 is switched off"
    return
  fi
  changed "$1 is switched off"
  [ "$DRY_RUN" = no ] || return 0
  mkdir -p "$ROOT/etc/systemd/system"
  ln -sfn /dev/null "$ROOT$link"
}

python_version() {
  local path found=""
  for path in "$ROOT"/usr/bin/python3.[0-9] "$ROOT"/usr/bin/python3.[0-9][0-9]; do
    [ -x "$path" ] && found="${path##*python3.}"
  done
  printf '%s' "$found"
}

check_system() {
  local architecture version
  step "Is this a system that Wattchain runs on?"
  if [ -z "$ROOT" ]; then
    [ "$DRY_RUN" = yes ] || [ "$(id -u)" = 0 ] || fail "this changes the system: run it as root (sudo $0)"
    command -v dpkg >/dev/null || fail "this is not Raspberry Pi OS or Debian: there is no dpkg"
    architecture="$(dpkg --print-architecture)"
  else
    architecture="$(sed -n '/^Package: dpkg$/,/^$/s/^Architecture: //p' "$ROOT/var/lib/dpkg/status" 2>/dev/null | head -n 1 || true)"
  fi
  case "$architecture" in
    arm64) note "64-bit, for a Raspberry Pi 3 or later" ;;
    amd64) note "64-bit, but no Raspberry Pi: no serial port on a header" ; SERIAL=no ;;
    "") fail "there is no Raspberry Pi OS in $ROOT" ;;
    *) fail "this system is a 32-bit one ($architecture). Choose \"Raspberry Pi OS Lite (64-bit)\" in Raspberry Pi Imager" ;;
  esac
  version="$(python_version)"
  [ -n "$version" ] || fail "there is no Python 3: sudo apt-get install python3"
  [ "$version" -ge 11 ] || fail "Python 3.$version is too old; Raspberry Pi OS of 2023 (bookworm) or later has 3.11"
  note "Python 3.$version"
}

install_packages() {
  step "Packages of the system"
  note "python3-venv keeps Wattchain's libraries apart from the system's; lgpio moves the GPIO pins."
  run apt-get update -q
  run apt-get install -q -y python3 python3-venv
  # Raspberry Pi OS has it, older Debians have not: there it comes with Wattchain's own libraries.
  if [ -n "$ROOT" ] || [ "$DRY_RUN" = yes ] || apt-cache show python3-lgpio >/dev/null 2>&1; then
    run apt-get install -q -y python3-lgpio
  else
    note "this system has no package python3-lgpio"
  fi
}

free_serial_port() {
  local boot config cmdline overlay=disable-bt
  step "The serial port on the header belongs to the measuring board"
  if [ "$SERIAL" = no ]; then
    note "left as it is"
    return
  fi
  boot=/boot/firmware
  [ -f "$ROOT$boot/config.txt" ] || boot=/boot
  [ -f "$ROOT$boot/config.txt" ] || fail "there is no config.txt in /boot/firmware or /boot: is this Raspberry Pi OS?"
  [ -f "$ROOT$boot/cmdline.txt" ] || fail "there is no cmdline.txt in $boot: is this Raspberry Pi OS?"
  if [ "$BLUETOOTH" = yes ]; then
    overlay=miniuart-bt
    note "Bluetooth moves to the small serial port, whose speed is good enough for it."
  else
    note "Bluetooth uses the good serial port; it is switched off, so that the board gets it."
  fi
  # First the whole of it: where the card cannot be read nothing must be written.
  config="$(without_block "$ROOT$boot/config.txt" && printf x)"
  printf '%s\n' "${config%x}# wattchain begin: the serial port on the header belongs to the measuring board" "[all]" \
    "enable_uart=1" "dtoverlay=$overlay" "[pi5]" "dtparam=uart0=on" "[all]" "# wattchain end" | put "$boot/config.txt" 644
  note "The console on the serial port would answer the board: it is taken away."
  cmdline="$(sed -E 's/(^| )console=(serial[0-9]|ttyAMA[0-9]+|ttyS[0-9])(,[^ ]*)?//g; s/^ +//' "$ROOT$boot/cmdline.txt")"
  if [ "$cmdline" = "$(cat "$ROOT$boot/cmdline.txt")" ]; then
    note "as it should be: $boot/cmdline.txt"
  else
    printf '%s\n' "$cmdline" | put "$boot/cmdline.txt" 644
  fi
  mask serial-getty@ttyAMA0.service
  mask serial-getty@ttyS0.service
  if [ "$BLUETOOTH" = no ]; then mask hciuart.service; fi
}

make_users() {
  step "Who runs it"
  note "The services run as the user wattchain, who may use serial ports (dialout) and pins (gpio), and cannot log in."
  put /etc/sysusers.d/wattchain.conf 644 <<'TEXT'
# Written by `wattchain install-service`: the user of its services, with the serial ports and the GPIO pins of a Pi.
u wattchain - "Wattchain" /var/lib/wattchain /usr/sbin/nologin
g dialout -
g gpio -
m wattchain dialout
m wattchain gpio
TEXT
  run systemd-sysusers /etc/sysusers.d/wattchain.conf
  if [ -n "$PERSON" ] && [ "$PERSON" != root ]; then
    note "You, $PERSON, may use them too, to set the meter up; it counts from your next login on."
    run usermod -a -G dialout,gpio "$PERSON"
  fi
}

# pip writes into the folder that it installs from, and takes what an earlier version left there.
install_copy() {
  local copy status=0
  copy="$(mktemp -d /var/tmp/wattchain.XXXXXX)"
  tar -C "$SOURCE" --exclude=./.git --exclude='./.venv*' --exclude=./build --exclude='*.egg-info' --exclude=node_modules \
    -cf - . | tar -C "$copy" -xf - &&
    "$VENV/bin/pip" install --quiet --disable-pip-version-check --upgrade -c "$SOURCE/constraints.txt" "${copy}[meters]" ||
    status=$?
  rm -rf "$copy"
  return "$status"
}

install_wattchain() {
  local options=()
  step "Wattchain itself, in $VENV"
  [ -f "$SOURCE/setup.cfg" ] || fail "there are no Wattchain sources in $SOURCE: name them with --source"
  if [ "$(python_version)" -ge 13 ]; then
    options+=(--system-site-packages)
    note "For this Python, lgpio comes with the system only, so the system's libraries are seen as well."
  fi
  if [ -x "$ROOT$VENV/bin/pip" ]; then
    note "as it should be: the environment is there"
  else
    run python3 -m venv "${options[@]}" "$VENV"
  fi
  note "It is built from a copy of $SOURCE, which stays as it is."
  run install_copy
  run ln -sfn "$VENV/bin/wattchain" /usr/local/bin/wattchain
  run install -d -m 755 /var/lib/wattchain
}

spare_card() {
  step "Settings that spare the card"
  if [ "$KEEP_LOGS" = yes ]; then
    note "The system's log stays on the card, at most 64 MB, written every quarter of an hour."
    put /etc/systemd/journald.conf.d/wattchain.conf 644 <<'TEXT'
# Written by Wattchain's prepare-pi.sh.
[Journal]
Storage=persistent
SystemMaxUse=64M
SyncIntervalSec=15min
TEXT
  else
    note "The system's log is kept in memory, at most 32 MB; it is gone after a power cut. (--keep-logs keeps it.)"
    put /etc/systemd/journald.conf.d/wattchain.conf 644 <<'TEXT'
# Written by Wattchain's prepare-pi.sh.
[Journal]
Storage=volatile
RuntimeMaxUse=32M
TEXT
  fi
  note "Memory is written to the card only when there is no other way."
  put /etc/sysctl.d/90-wattchain.conf 644 <<'TEXT'
# Written by Wattchain's prepare-pi.sh: swapping wears the card.
vm.swappiness = 1
TEXT
  if grep -qE '^[^#].*[[:space:]]/[[:space:]].*noatime' "$ROOT/etc/fstab" 2>/dev/null; then
    note "as it should be: reading a file writes nothing (noatime in /etc/fstab)"
  else
    note "look at /etc/fstab: with noatime in the line of / reading a file writes nothing"
  fi
}

keep_time_and_life() {
  step "Time, and the Pi's own watchdog"
  note "A Pi has no clock of its own. After a power cut it goes on from the time that it noted last, until a time server"
  note "answers; a meter signs nothing before its clock can be right. A clock module (RTC) shortens that."
  run systemctl enable --now systemd-timesyncd.service
  if [ -e "$ROOT/usr/sbin/fake-hwclock" ] || [ -e "$ROOT/sbin/fake-hwclock" ]; then
    note "as it should be: fake-hwclock notes the time every hour"
  fi
  note "If the system hangs as a whole, the Pi's hardware restarts it after a quarter of a minute."
  put /etc/systemd/system.conf.d/wattchain.conf 644 <<'TEXT'
# Written by Wattchain's prepare-pi.sh. The Pi's watchdog waits for 15 s at most.
[Manager]
RuntimeWatchdogSec=14
TEXT
}

check_system
install_packages
free_serial_port
make_users
install_wattchain
spare_card
keep_time_and_life

step "Done"
if [ "$CHANGES" = 0 ]; then
  note "Every file was as it should be."
elif [ "$DRY_RUN" = yes ]; then
  note "$CHANGES changes would be made. Nothing was changed."
else
  note "$CHANGES changes were made. They count after a restart: sudo reboot"
fi
note "What comes next, for a meter:"
note "  sudo wattchain meter setup --settings /var/lib/wattchain/meter/meter.toml"
note "  sudo wattchain install-service meter"
