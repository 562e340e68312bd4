"""What `edgeemo run` was asked for."""

from pathlib import Path

import msgspec

from edge.config import Config, Emit, MesherKind, Reach, load_config, override


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `edgeemo run`; None is for what was not given."""

    source: str | None = None
    model: Path | None = None
    config: Path | None = None
    log_dir: Path | None = None
    max_frames: int | None = None
    mesher: MesherKind | None = None
    emit: Emit | None = None
    display: bool = False
    save_video: Path | None = None
    snapshot: Path | None = None
    every_n: int | None = None
    idle_fps: float | None = None
    tau: float | None = None
    reach: Reach | None = None
    realtime: bool = False

    def settings(self) -> Config:
        """Return the configuration: that of the file, or the default, with what was asked for.

        Raises:
            ConfigError: the file cannot be read, or holds something wrong.
        """
        config = load_config(self.config) if self.config else Config()
        return override(
            config,
            source=override(
                config.source,
                spec=self.source,
                every_n=self.every_n,
                realtime=self.realtime or None,
            ),
            model=override(config.model, bundle=self.model and str(self.model), tau=self.tau),
            log=override(config.log, dir=self.log_dir and str(self.log_dir), emit=self.emit),
            mesher=override(
                config.mesher, kind=self.mesher, idle_fps=self.idle_fps, reach=self.reach
            ),
        )
