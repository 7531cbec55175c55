"""Raw sockets of an interface, whole frames both ways; the pcap file of what went through one."""
import array
import errno
import fcntl
import os
import socket
import struct
import time

ETH_P_ALL, SOL_PACKET = 3, 263
PACKET_STATISTICS, PACKET_AUXDATA, IGNORE_OUTGOING, SO_RCVBUFFORCE = 6, 8, 23, 33
VLAN_VALID, TPID_VALID, CSUM_NOT_READY = 0x10, 0x40, 0x08
AUXDATA = struct.Struct("=IIIHHHH")
ROOM = 65536
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 2, 0x1000
SIOCETHTOOL, ETHTOOL_STXCSUM = 0x8946, 0x17


def recv_buffer(sock):
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)


class Raw:
    """
    The kernel takes the outer VLAN tag off what it receives and puts it beside: here it is put back.
    """

    def __init__(self, interface):
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        recv_buffer(self.sock)
        self.sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.sock.setsockopt(SOL_PACKET, IGNORE_OUTGOING, 1)
        self.sock.bind((interface, ETH_P_ALL))
        self.sock.setblocking(False)
        self.mac = self.sock.getsockname()[4]
        self.unfinished = 0     # frames without a checksum: somebody has left it to a device
        self.lost = 0

    def fileno(self):
        return self.sock.fileno()

    def receive(self):
        """A frame, or None."""
        try:
            data, ancillary, _, _ = self.sock.recvmsg(ROOM, socket.CMSG_SPACE(AUXDATA.size))
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as e:
            if e.errno == errno.ENETDOWN:
                return None
            raise
        for level, kind, content in ancillary:
            if (level, kind) == (SOL_PACKET, PACKET_AUXDATA) and len(content) >= AUXDATA.size:
                status, _, _, _, _, tci, tpid = AUXDATA.unpack_from(content)
                self.unfinished += bool(status & CSUM_NOT_READY)
                if status & VLAN_VALID:
                    data = data[:12] + struct.pack("!HH", tpid if status & TPID_VALID else 0x8100, tci) + data[12:]
        return data

    def send(self, data):
        """Whether the interface took it."""
        try:
            self.sock.send(data)
            return True
        except OSError as e:
            if e.errno in (errno.ENOBUFS, errno.EAGAIN, errno.ENETDOWN, errno.EMSGSIZE, errno.ENXIO):
                return False
            raise

    def losses(self):
        """Frames that the kernel had no room for, so far."""
        self.lost += struct.unpack("II", self.sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
        return self.lost


class Tap:
    """The other side of a tap device that is there: what an emulator has."""

    def __init__(self, interface):
        self.fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(self.fd, TUNSETIFF, struct.pack("16sH", interface.encode(), IFF_TAP | IFF_NO_PI))

    def fileno(self):
        return self.fd

    def receive(self):
        try:
            return os.read(self.fd, ROOM)
        except BlockingIOError:
            return None

    def send(self, data):
        try:
            os.write(self.fd, data)
            return True
        except (BlockingIOError, OSError):
            return False


def checksums_by_kernel(interface):
    """Stops the kernel from leaving checksums to the device: at a veth's other end nobody would make them."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        value = array.array("B", struct.pack("II", ETHTOOL_STXCSUM, 0))
        fcntl.ioctl(s, SIOCETHTOOL, struct.pack("16sP", interface.encode(), value.buffer_info()[0]))


class Pcap:
    """Nanoseconds, Ethernet."""

    def __init__(self, path):
        self.file = open(path, "wb")
        self.file.write(struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, ROOM, 1))

    def add(self, data):
        now = time.time_ns()
        self.file.write(struct.pack("=IIII", now // 10 ** 9, now % 10 ** 9, len(data), len(data)) + data)

    def flush(self):
        self.file.flush()

    def close(self):
        self.file.close()
