//! `netwire show`: who is wired to what, for people, scripts and other programs.
#![forbid(unsafe_code)]

use tests::{Run, both};

/// Runs a lab script as both callers, with the function `shown FORM FILE`; it
/// must succeed and say nothing.
#[track_caller]
fn lab(script: &str) {
    both(|who| {
        let mut command = who.lab_command(&format!("{SHOWN}{script}"));
        assert_eq!(command.env("SHOWN", include_str!("netwire/shown.py")).ran().out(), "", "as {}", who.name);
    });
}

/// `shown FORM FILE`: the wires in it. `says FILE LINE...`: it has these lines.
const SHOWN: &str = r#"shown() { python3 -c "$SHOWN" "$@"; }
says() { _file=$1; shift; for _line; do grep -qxF -e "$_line" "$_file" || fail "no '$_line' in: $(cat "$_file")"; done; }
lacks() { _file=$1; shift; for _word; do ! grep -F -e "$_word" "$_file" || fail "$_word in $_file"; done; }
"#;

/// Wires of every kind between three named namespaces, this one and a process.
const WIRED: &str = "host web db
    netwire bridge br0 10.0.0.254/24
    netwire wire br0 eth0@web 10.0.0.1 fd00::1/64
    netwire wire br0 eth0@db 10.0.0.2
    netwire veth x y@db --peer-addr 10.1.0.1/24
    netwire veth p@web q@db
    netwire macvlan p@web m0@db 10.2.0.1/24
    netwire set y@db --down
    process
    netwire veth near far@$process --peer-addr 10.3.0.1/24
    ";

#[test]
fn for_scripts() {
    lab(&format!(
        "{WIRED}
        netwire show --json >json
        shown json json >wires
        says wires 'web-eth0@. - eth0@web' 'eth0@web - web-eth0@.' 'web-eth0@. of br0' 'db-eth0@. of br0' \\
            'x@. - y@db' 'p@web - q@db' 'm0@db on p@web' \"near@. - far@$process\" 'y@db is down' \\
            'br0@. has 10.0.0.254/24' 'eth0@web has 10.0.0.1/24' 'eth0@web has fd00::1/64' 'm0@db has 10.2.0.1/24'
        [ \"$(grep -c ' - ' wires)\" = 10 ] || fail \"$(cat wires)\"
        [ \"$(grep -c 'is down' wires)\" = 1 ] || fail \"$(cat wires)\"
        # Who holds a namespace, and which it is.
        python3 -c 'import json, os, sys
nets = {{net[\"name\"]: net for net in json.load(open(\"json\"))}}
assert nets[sys.argv[1]][\"pid\"] == int(sys.argv[1]), nets
assert nets[sys.argv[1]][\"command\"] == \"sleep\", nets
assert nets[\".\"][\"net\"] == os.stat(\"/proc/self/ns/net\").st_ino
for name in \"web\", \"db\":
    assert nets[name][\"net\"] == os.stat(f\"/run/netns/{{name}}\").st_ino
    assert nets[name][\"pid\"] is None
    links = {{link[\"name\"]: link for link in nets[name][\"links\"]}}
    own = json.loads(os.popen(f\"ip -n {{name}} -j link\").read())
    assert {{link[\"ifname\"]: (link[\"address\"], link[\"mtu\"], link[\"ifindex\"]) for link in own}} == {{
        name: (link[\"mac\"], link[\"mtu\"], link[\"index\"]) for name, link in links.items()}}' $process
        # Those that were asked for.
        netwire show web --json >json
        shown() {{ :; }}
        grep -q '\"name\":\"web\"' json || fail \"$(cat json)\"
        netwire show /run/netns/web $process --json | grep -q '\"command\":\"sleep\"' || fail a process
        [ \"$(netwire show --json . | python3 -c 'import json; print(len(json.load(open(0))))')\" -ge 1 ] || fail here"
    ));
}

#[test]
fn for_people() {
    lab(&format!(
        "{WIRED}
        netwire show >tree
        grep -q '^web .*/run/netns/web' tree || fail \"$(cat tree)\"
        grep -q \"^$process .*sleep\" tree || fail \"$(cat tree)\"
        grep -q 'br0 .*10.0.0.254/24' tree || fail \"$(cat tree)\"
        grep -q 'web-eth0 .*eth0@web.*10.0.0.1/24' tree || fail \"$(cat tree)\"
        grep -q 'y .*down.*x@' tree || fail \"$(cat tree)\"
        grep -q 'm0 .*p@web' tree || fail \"$(cat tree)\"
        netwire show web >tree
        grep -q '^web ' tree || fail \"$(cat tree)\"
        ! grep -q \"^$process \" tree || fail \"$(cat tree)\"
        # Into a pipe that nobody reads to its end: no message.
        netwire show 2>err | head -1 >/dev/null
        [ ! -s err ] || fail \"$(cat err)\""
    ));
}

#[test]
fn for_other_programs() {
    lab(&format!(
        "{WIRED}
        netwire show --dot >dot
        shown dot dot >wires
        says wires 'eth0 -- web-eth0' 'db-eth0 -- eth0' 'br0 -- web-eth0' 'x -- y' 'p -- q' 'm0 -- p' 'far -- near'
        netwire show --svg >svg
        shown svg svg >wires
        says wires 'text br0' 'text 10.0.0.254/24' 'text web'
        # In either order.
        wire() {{ grep -qxE \"$1 [^ ]+ $2|$2 [^ ]+ $1\" wires || fail \"no $1 $2 in: $(cat wires)\"; }}
        wire eth0@web web-eth0@.; wire x@. y@db; wire p@web q@db; wire m0@db p@web; wire near@. far@$process"
    ));
}

/// Two links, a namespace and a process whose names are hostile to whatever reads them.
const HOSTILE: &str = "
    escape=$(printf 'e\\033[31m')
    markup='<i>&\"'
    host \"n$markup\" db
    mkdir dir; cp /bin/sleep \"dir/c$escape\"
    unshare -n \"dir/c$escape\" 1000 & process=$!
    until [ \"$(readlink /proc/$process/ns/net)\" != \"$(readlink /proc/self/ns/net)\" ] &&
        grep -q 31m /proc/$process/comm; do [ -d /proc/$process ]; sleep 0.01; done
    netwire veth \"$escape\" \"$escape@db\"
    netwire veth \"a$markup\" \"b$markup@n$markup\"
    netwire veth \"$(printf 'c\\302\\23331m')\" \"y@$process\"
    netwire veth \"$(printf 'u\\377v')\" \"$(printf 'b\\\\\\\\n\\177')@$process\"
    ";

#[test]
fn names_that_are_hostile() {
    lab(&format!(
        "{HOSTILE}
        for form in json dot svg; do netwire show --$form >$form; shown $form $form >wires.$form; done
        netwire show >tree
        netwire show db \"n$markup\" $process >named
        for file in tree named; do
            ! LC_ALL=C grep -n -e \"$(printf '[\\001-\\011\\013-\\037\\177]')\" $file || fail raw in $file
            python3 -c 'import sys; open(sys.argv[1], encoding=\"utf-8\").read()' $file
        done
        says wires.json \"a$markup@. - b$markup@n$markup\" \"$escape@. - $escape@db\"
        says wires.svg \"text a$markup\"
        lacks svg '<i>'
        # In a message, too.
        refused '' netwire wire br0 \"$escape@nowhere\"
        lacks refused.err \"$(printf '\\033')\"
        refused '' netwire wire \"$escape\" x@db
        lacks refused.err \"$(printf '\\033')\"
        refused '' netwire veth \"$escape\" x@db
        lacks refused.err \"$(printf '\\033')\"
        printf 'bridge br1\\nveth \\033[31mx@nowhere b@db\\n' >lab
        refused '' netwire apply lab
        lacks refused.err \"$(printf '\\033')\"
        printf 'bridge b\\033[31mr' >lab; netwire apply --dry-run lab >plan
        lacks plan \"$(printf '\\033')\""
    ));
}

#[test]
fn containers() {
    lab("container --hostname box
        netwire bridge br0 10.0.0.254/24
        netwire wire br0 eth0@$container 10.0.0.1
        netwire show --json >json
        shown json json >wires
        says wires \"eth0@$container - $container-eth0@.\" \"eth0@$container has 10.0.0.1/24\"
        netwire show >tree; grep -q \"^$container \" tree || fail \"$(cat tree)\"
        for form in dot svg; do netwire show --$form $container >$form; shown $form $form >/dev/null; done");
}

#[test]
fn what_cannot_be_shown() {
    lab("refused 'there is no network namespace \"gone\" in /run/netns' netwire show gone
        refused 'there is no process 4000000' netwire show 4000000
        refused '' netwire show --json --dot
        refused '' netwire show --nonsense
        refused 'no network namespace' netwire show /etc/passwd
        state >before; netwire show >/dev/null; netwire show --svg >/dev/null; same before
        ! netwire show >/dev/full 2>err || fail it was full
        grep -q '^netwire: ' err || fail \"$(cat err)\"");
}

#[test]
fn hundreds() {
    lab("{ echo bridge br0 10.0.0.1/16; for n in $(seq 300); do echo netns n$n; echo wire br0 eth0@n$n auto; done; } >lab
        netwire apply lab
        for form in json dot svg; do netwire show --$form >$form; shown $form $form >wires.$form; done
        [ \"$(grep -c 'eth0@n[0-9]* - n[0-9]*-eth0@.' wires.json)\" = 300 ] || fail json
        [ \"$(grep -c 'eth0 -- n[0-9]*-eth0' wires.dot)\" = 300 ] || fail dot
        [ \"$(grep -c 'eth0@n[0-9]*$' wires.svg)\" = 300 ] || fail svg
        [ \"$(netwire show | grep -c '^n[0-9]')\" = 300 ] || fail tree");
}
