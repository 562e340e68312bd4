"""A real RTSP server: GStreamer's, with moving test pictures as JPEG. For Debian's own Python.

    /usr/bin/python3 rtsp_server.py PORT

Needs gir1.2-gst-rtsp-server-1.0, gstreamer1.0-plugins-base and gstreamer1.0-plugins-good. With
PORT 0 the system chooses. It prints ``ready PORT GUARDED`` when it listens, and serves until it is
killed:

- /live at PORT: 320x240, 15 pictures a second;
- /sizes at PORT: changes between 320x240 and 160x128 every second;
- /live at GUARDED: for the user ann with the password hunter2 alone.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

CAPS = "video/x-raw,format=I420,width={},height={},framerate=15/1"
SIZES = ((320, 240), (160, 128))
PIPELINE = (
    "( videotestsrc is-live=true pattern=ball ! capsfilter name=size caps=" + CAPS + " "
    "! jpegenc ! rtpjpegpay name=pay0 pt=26 )"
)
PERIOD_MS = 1000
SERVERS = []
"""They live for as long as the process."""


def change_sizes(_: object, media: object) -> None:
    """Give the pictures another size every second."""
    element = media.get_element().get_by_name("size")
    turn = iter(range(1, sys.maxsize))

    def change() -> bool:
        size = SIZES[next(turn) % len(SIZES)]
        element.set_property("caps", Gst.Caps.from_string(CAPS.format(*size)))
        return True

    GLib.timeout_add(PERIOD_MS, change)


def factory() -> GstRtspServer.RTSPMediaFactory:
    """Return what makes a stream when the first client asks for it."""
    made = GstRtspServer.RTSPMediaFactory()
    made.set_launch(PIPELINE.format(*SIZES[0]))
    made.set_shared(True)
    return made


def guarded() -> GstRtspServer.RTSPAuth:
    """Return what lets ann alone have a stream."""
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "ann")
    auth.add_basic(auth.make_basic("ann", "hunter2"), token)
    return auth


def serve(port: str, factories: dict, auth: object = None) -> int:
    """Serve streams, by path; return the port."""
    server = GstRtspServer.RTSPServer(service=port, address="127.0.0.1")
    server.set_auth(auth)
    for path, made in factories.items():
        server.get_mount_points().add_factory(path, made)
    if not server.attach(None):
        sys.exit(f"port {port} cannot be had")
    SERVERS.append(server)
    return server.get_bound_port()


def main(port: str) -> None:
    """Serve until killed."""
    Gst.init(None)
    sizes, private = factory(), factory()
    sizes.connect("media-configure", change_sizes)
    permissions = GstRtspServer.RTSPPermissions()
    for what in ("media.factory.access", "media.factory.construct"):
        permissions.add_permission_for_role("ann", what, True)
    private.set_permissions(permissions)
    ports = (
        serve(port, {"/live": factory(), "/sizes": sizes}),
        serve("0", {"/live": private}, guarded()),
    )
    print("ready", *ports, flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(sys.argv[1])
