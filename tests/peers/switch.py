"""A learning bridge among the bridge program's ports, with VLANs (802.1Q, the relay only): for where Linux' own bridge cannot be.

Pure. A member is any object with `vlan`: 0, then C-TAGs pass as they are, or the VID of its untagged frames, then none with a tag do.

Invariant: a frame never goes back to the member it came from, and never to one of another VLAN.
"""


class Switch:
    def __init__(self):
        self.members = []
        self.where = {}         # (VID, MAC): member

    def forget(self, member):
        self.where = {k: m for k, m in self.where.items() if m is not member}

    def relay(self, source, frame):
        """
        [(member, frame)] that a frame of a member goes to, and whether it is flooded; None if the source's VLAN does not allow it.
        """
        if source.vlan and frame.cvid:
            return None
        vid = source.vlan or frame.cvid
        if not frame.src[0] & 1:
            self.where[vid, frame.src] = source
        plain = frame if source.vlan else frame.without_ctag() if frame.cvid else frame
        tagged = None
        known = None if frame.dst[0] & 1 else self.where.get((vid, frame.dst))
        result = []
        for member in [known] if known else self.members:
            if member is source or member.vlan not in (0, vid):
                continue
            if member.vlan == vid:
                result.append((member, plain))
            else:
                tagged = tagged or plain.with_ctag(vid)
                result.append((member, tagged))
        return result, known is None
