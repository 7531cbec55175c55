"""
The VLAN of a port is the bridge's answer of VDP: as configured; another, when the port stays down and no frame of its data leaves; one where none
was configured. Key `outside` as in extended.py, with our own switch and VDP bridge; `vlans`: {port: VLAN that the console shows; 0: down}.
"""
import spine
from scenarios import extended, extended_switch


def reach(o, vlan, guest, others):
    """With the host in that VLAN: this guest answers, and nobody who is in another does."""
    o.command("host-vlan", vlan=vlan)
    spine.ping(o, 3, extended.ip_of(guest))
    for other in others:
        done = o.in_network(["ping", "-n", "-c", 1, "-W", "2", extended.ip_of(other)], check=False, capture_output=True, text=True)
        assert done.returncode, f"VLAN {vlan}: expected no answer of {other['name']}, saw {done.stdout}"


def console(m, guest, vlan):
    m.position = 0
    if vlan:
        m.expect(rf"nic: port\d of VM {guest['name']}: associated with the bridge, VLAN {vlan}$", 120)
        m.position = 0      # in whatever order
        m.expect(rf"\[{guest['name']}\] guest: echo: ready", 300)
    else:
        m.expect(rf"nic: port\d of VM {guest['name']} stays down: it is configured for VLAN {guest['vlan']}, the bridge says \d+$", 120)
    m.position = len(m.lines)
    shown, link = (f", VLAN {vlan}", "up") if vlan else ("", "down")
    extended.port_line(m, extended.depth_of(m, guest) - 1, rf"{guest['name']} \d+: .*MAC {guest['mac']}{shown}, link {link};")


def held(o, port, guest):
    """Not one frame of its data was on the wire before the bridge had confirmed the VLAN."""
    capture, svid, mac = extended.outside.capture, o.channel(port)["svid"], extended.outside.capture.frames.mac_bytes(guest["mac"])
    own = [s for s in extended_switch.capture_of(o) if s.frame.svid == svid]
    confirmed = min(s.number for s in own if s.from_bridge and extended_switch.is_control(s) and capture.decode(s.frame) == "vdp associate")
    early = [s for s in own if s.frame.src == mac and not extended_switch.is_control(s) and s.number < confirmed]
    assert not early, f"{port}: expected no data before frame {confirmed}, in which the bridge confirms the VLAN, saw {early[:3]}"


def check(m):
    spec, guests = dict(m.scenario.spec["outside"]), extended.guests_of(m)
    ports, vlans = spec.pop("ports"), spec.pop("vlans")
    with extended.outside.Outside(m, **spec) as o:
        for port, guest in zip(ports, guests):
            console(m, guest, vlans[port])
        for port, guest in zip(ports, guests):
            if vlans[port]:
                reach(o, vlans[port], guest, [g for g in guests if g is not guest])
        for port, guest in zip(ports, guests):
            if vlans[port]:
                o.command("host-vlan", vlan=vlans[port])
                spine.udp_echo(o, 20, extended.ip_of(guest))
                if guest.get("vlan"):
                    held(o, port, guest)
                continue
            mac = extended.outside.capture.frames.mac_bytes(guest["mac"])
            data = [s for s in extended_switch.capture_of(o) if s.frame.src == mac and not extended_switch.is_control(s)]
            assert not data, f"{port}: expected no data of a port that is down, saw {len(data)} frames, first {data[0]}"
        [down] = [g for port, g in zip(ports, guests) if not vlans[port]]
        m.send_line(f"kill {down['name'] if extended.depth_of(m, down) == 1 else 'inner'}")
        code = m.wait(60)
        assert code == 254, f"expected exit code 254 of the VM that was killed, saw {code}"
    print(f"    {m.scenario.label}: VLANs {vlans}; {o.check_captures()}")
