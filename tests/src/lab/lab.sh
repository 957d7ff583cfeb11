# shellcheck shell=sh
# What the script of a lab starts with. TALK and STATE are talk.py and state.py.

mount -t tmpfs tmpfs /run
mkdir /run/lab /run/netns
cd /run/lab || exit
ip link set lo up

# fail WORD...: the test has failed.
fail() {
	echo "$*" >&2
	exit 1
}

# host NAME...: network namespaces in /run/netns, lo up. By ip: the reference.
host() {
	for _name; do
		ip netns add "$_name"
		ip -n "$_name" link set lo up
	done
}

# on NAME CMD...: CMD in the namespace NAME of /run/netns, or here for ".".
on() {
	_where=$1
	shift
	if [ "$_where" = . ]; then
		"$@"
	else
		nsenter --net="/run/netns/$_where" "$@"
	fi
}

# pings NAME ADDRESS...: NAME gets an answer from each, of either family.
pings() {
	_from=$1
	shift
	for _address; do
		on "$_from" ping -n -q -c 1 -W 5 "$_address" >ping.out 2>&1 ||
			# A new network looks for its neighbours, which may lose some.
			on "$_from" ping -n -q -c 6 -W 5 "$_address" >ping.out 2>&1 ||
			fail "$_from does not reach $_address: $(cat ping.out)"
	done
}

# deaf NAME ADDRESS...: NAME gets no answer from any.
deaf() {
	_from=$1
	shift
	for _address; do
		! on "$_from" ping -n -q -c 2 -i 0.2 -W 0.5 "$_address" >ping.out 2>&1 || fail "$_from reaches $_address"
	done
}

# talks FROM TO ADDRESS...: FROM talks with a server at each ADDRESS of TO, by
# TCP and by UDP, 100,000 bytes and 1,000.
talks() {
	_from=$1
	_to=$2
	shift 2
	for _address; do
		rm -f served
		on "$_to" python3 -c "$TALK" serve "$_address" >served &
		_server=$!
		until [ -s served ]; do
			[ -d "/proc/$_server" ] || fail "$_to cannot serve at $_address"
			sleep 0.01
		done
		on "$_from" python3 -c "$TALK" call "$_address" >talk.out 2>&1 ||
			fail "$_from does not talk with $_to at $_address: $(cat talk.out)"
		wait "$_server"
	done
}

# refused TEXT CMD...: CMD fails with 125, writes nothing on stdout, its
# messages hold TEXT and are lines of netwire's.
refused() {
	_text=$1
	shift
	_status=0
	"$@" >refused.out 2>refused.err || _status=$?
	[ "$_status" = 125 ] || fail "$*: status $_status, not 125: $(cat refused.out refused.err)"
	[ ! -s refused.out ] || fail "$*: wrote $(cat refused.out)"
	grep -qF -e "$_text" refused.err || fail "$*: expected \"$_text\", got: $(cat refused.err)"
	! grep -v '^netwire: ' refused.err >&2 || fail "$*: a line is not netwire's"
}

# quiet CMD...: CMD succeeds and writes nothing.
quiet() {
	"$@" >quiet.out 2>&1 || fail "$*: status $?: $(cat quiet.out)"
	[ ! -s quiet.out ] || fail "$*: wrote $(cat quiet.out)"
}

# state: all links, addresses, routes, rules, qdiscs and names here and in
# /run/netns, one a line, without what changes by itself.
state() {
	python3 -c "$STATE"
}

# same FILE: the state is still that in FILE.
same() {
	state >state.now
	diff "$1" state.now >state.diff || fail "it is not as before: $(cat state.diff)"
}

# process: starts a process in a network namespace of its own; its PID is in $process.
process() {
	mkfifo ready
	unshare -n sh -c 'ip link set lo up; echo >ready; exec sleep 1000' &
	export process=$!
	read -r _ <ready
	rm ready
}

# container OPTION...: starts contain with these options; the PID of the
# supervisor is in $container, the root is box/root with busybox alone.
container() {
	if [ ! -d box ]; then
		mkdir -p -m 700 box
		mkdir -p box/root/bin box/root/dev box/root/proc box/root/sys
		cp /bin/busybox box/root/bin/
	fi
	rm -f ready
	contain --pid-file ready --ro "$@" box/root busybox sleep 1000 &
	export container=$!
	until [ -s ready ]; do sleep 0.01; done
}

# watch NAME...: follows what happens to links, addresses and routes there, once
# the kernel has said all that it has to say of what was made before (carriers,
# own addresses that turned out to be unique).
watch() {
	for _name; do
		: >"watched.$_name"
		on "$_name" ip -o monitor link address route >>"watched.$_name" 2>&1 &
	done
	_loud=yes
	while [ -n "$_loud" ]; do
		sleep 2
		_loud=
		for _name; do
			_loud=$_loud$(watched "$_name")
		done
	done
}

# watched NAME: what happened there since watch, or since this was asked last.
watched() {
	# Seen when an event of lo, caused here, is.
	until grep -q 'Deleted.*: lo .*127\.9\.9\.9' "watched.$1"; do
		on "$1" ip addr add 127.9.9.9/32 dev lo
		on "$1" ip addr del 127.9.9.9/32 dev lo
		sleep 0.02
	done
	grep -v -e ': lo[: ]' -e ' dev lo ' "watched.$1" || :
	: >"watched.$1"
}
