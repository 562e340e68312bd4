/* A ribbon camera for a machine that has none: a pipeline handler for a stock libcamera, to be preloaded.
 *
 * libcamera finds it beside its own handlers and takes it for a Raspberry Pi's: an imx219 with its modes, RGB888 in rows
 * of a multiple of 64 bytes, FrameDurationLimits, buffers from /dev/dma_heap, one user at a time. Everything above it
 * (libcamera, its Python module, picamera2) is real.
 *
 * The folder $PLAY_CSI (else /run/play-csi) is its remote control; a file there acts at once:
 *   frames   three 32-bit numbers (width, height, count), then pictures of B, G, R; without it a red scene, noisy
 *   loose    no frame is completed any more: the cable is out
 *   error    frames are completed as faulty
 *   stuck    the stop does not come back
 *   absent   at the start: there is no camera
 */
#include <dlfcn.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <fcntl.h>
#include <mutex>
#include <string.h>
#include <string>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

#include <libcamera/control_ids.h>
#include <libcamera/formats.h>
#include <libcamera/orientation.h>
#include <libcamera/property_ids.h>
#include <libcamera/stream.h>
#include <libcamera/version.h>

#include "libcamera/internal/camera.h"
#include "libcamera/internal/framebuffer.h"
#include "libcamera/internal/pipeline_handler.h"
#include "libcamera/internal/request.h"

using namespace libcamera;
using Clock = std::chrono::steady_clock;

namespace {

std::string place(const char *name)
{
	const char *dir = getenv("PLAY_CSI");
	return std::string(dir ? dir : "/run/play-csi") + "/" + name;
}

bool is_there(const char *name) { return !access(place(name).c_str(), F_OK); }

unsigned int bytes(const PixelFormat &format)
{
	if (format == formats::RGB888 || format == formats::BGR888)
		return 3;
	return format == formats::XRGB8888 || format == formats::XBGR8888 ? 4 : 0;
}

bool is_raw(const PixelFormat &format)
{
	return format == formats::SRGGB10_CSI2P || format == formats::SRGGB8;
}

const Size kSensor(3280, 2464);
const std::vector<SizeRange> kModes = { Size(640, 480), Size(1640, 1232), Size(1920, 1080), kSensor };

/* What a mode reads of the sensor, and its shortest frame: as an imx219's driver and its helper say. */
struct Mode {
	Size size;
	Rectangle crop;
	int64_t shortest_us;
};
const Mode kReads[] = {
	{ Size(640, 480), Rectangle(1000, 752, 1280, 960), 4839 },
	{ Size(1640, 1232), Rectangle(0, 0, 3280, 2464), 23893 },
	{ Size(1920, 1080), Rectangle(680, 692, 1920, 1080), 21092 },
	{ kSensor, Rectangle(0, 0, 3280, 2464), 47183 },
};
constexpr int64_t kLongestUs = 11767556;

/* The scene is upright; the sensor is mounted upside down, which libcamera makes good: nothing to do for Rotate0. */
bool is_mirrored_x(Orientation o) { return o == Orientation::Rotate0Mirror || o == Orientation::Rotate180; }
bool is_mirrored_y(Orientation o) { return o == Orientation::Rotate180Mirror || o == Orientation::Rotate180; }

/* The pictures of the file, or noise on red. */
class Scene
{
public:
	Scene()
	{
		int fd = open(place("frames").c_str(), O_RDONLY | O_CLOEXEC);
		struct stat st;
		if (fd < 0 || fstat(fd, &st) || st.st_size < 12)
			return;
		void *map = mmap(nullptr, st.st_size, PROT_READ, MAP_SHARED, fd, 0);
		close(fd);
		if (map == MAP_FAILED)
			return;
		map_ = static_cast<uint8_t *>(map);
		size_ = st.st_size;
		memcpy(head_, map_, sizeof(head_));
	}

	~Scene()
	{
		if (map_)
			munmap(map_, size_);
	}

	void paint(uint8_t *to, const StreamConfiguration &config, Orientation orientation, unsigned int number) const
	{
		const unsigned int n = bytes(config.pixelFormat);
		const bool is_rgb = config.pixelFormat == formats::BGR888 || config.pixelFormat == formats::XBGR8888;
		const bool turns_x = is_mirrored_x(orientation), turns_y = is_mirrored_y(orientation);
		uint32_t dice = number * 2654435761u + 1;
		for (unsigned int line = 0; line < config.size.height; line++) {
			uint8_t *row = to + line * config.stride;
			const unsigned int y = turns_y ? config.size.height - 1 - line : line;
			for (unsigned int column = 0; column < config.size.width; column++) {
				const unsigned int x = turns_x ? config.size.width - 1 - column : column;
				uint8_t bgr[3] = { 10, 20, 250 };
				if (map_) {
					const unsigned int w = head_[0], h = head_[1];
					const size_t at = ((number % head_[2]) * size_t(h) + y * h / config.size.height) * w + x * w / config.size.width;
					memcpy(bgr, map_ + 12 + at * 3, 3);
				} else {
					dice = dice * 1664525 + 1013904223;
					bgr[1] += (dice >> 24) % 8;
				}
				if (is_rgb)
					std::swap(bgr[0], bgr[2]);
				memcpy(row + column * n, bgr, 3);
			}
			memset(row + config.size.width * n, 0xee, config.stride - config.size.width * n);
		}
	}

private:
	uint8_t *map_ = nullptr;
	size_t size_ = 0;
	uint32_t head_[3] = {};
};

class Configuration : public CameraConfiguration
{
public:
	Status validate() override
	{
		Status status = config_.empty() ? Invalid : Valid;
		if (orientation != Orientation::Rotate0 && !is_mirrored_x(orientation) && !is_mirrored_y(orientation)) {
			orientation = Orientation::Rotate0; /* no sensor transposes */
			status = Adjusted;
		}
		for (StreamConfiguration &config : config_) {
			const bool raw = is_raw(config.pixelFormat);
			if (!raw && !bytes(config.pixelFormat)) {
				config.pixelFormat = formats::RGB888;
				status = Adjusted;
			}
			const Size size = raw ? config.size : config.size.alignedDownTo(2, 2).boundedTo(kSensor).expandedTo(Size(32, 32));
			if (size != config.size) {
				config.size = size;
				status = Adjusted;
			}
			const unsigned int row = raw ? size.width * 5 / 4 : size.width * bytes(config.pixelFormat);
			config.stride = (row + 63) / 64 * 64;
			config.frameSize = config.stride * size.height;
		}
		return status;
	}
};

class Data : public Camera::Private
{
public:
	using Camera::Private::Private;
	Stream main_, raw_;
	StreamConfiguration shape_;
	Orientation orientation_ = Orientation::Rotate0;
	int64_t shortest_us_ = 0;
	std::unique_ptr<Scene> scene_;
	std::thread worker_;
	std::mutex lock_;
	std::condition_variable changed_;
	std::deque<Request *> waiting_;
	std::atomic<int64_t> frame_us_ = 33333;
	bool running_ = false;
	unsigned int run_ = 0, shown_ = 0;
	int busy_ = -1;
};

class PlayCsi : public PipelineHandler
{
public:
	using PipelineHandler::PipelineHandler;

	bool match(DeviceEnumerator *) override
	{
		static bool is_made = false;
		if (is_made || is_there("absent") || access(place("").c_str(), F_OK))
			return false;
		is_made = true;
		auto data = std::make_unique<Data>(this);
		data->properties_.set(properties::Model, "imx219");
		data->properties_.set(properties::Location, properties::CameraLocationExternal);
		data->properties_.set(properties::Rotation, 180);
		data->properties_.set(properties::PixelArraySize, kSensor);
		data->properties_.set(properties::draft::ColorFilterArrangement, properties::draft::RGGB);
		data->controlInfo_ = limits(kReads[3], kSensor);
		std::set<Stream *> streams = { &data->main_, &data->raw_ };
		registerCamera(Camera::create(std::move(data), "/base/soc/i2c0mux/i2c@1/imx219@10", streams));
		return true;
	}

	std::unique_ptr<CameraConfiguration> generateConfiguration(Camera *, Span<const StreamRole> roles) override
	{
		auto all = std::make_unique<Configuration>();
		for (const StreamRole role : roles) {
			std::map<PixelFormat, std::vector<SizeRange>> known;
			if (role == StreamRole::Raw)
				known = { { formats::SRGGB10_CSI2P, kModes }, { formats::SRGGB8, kModes } };
			else
				for (const PixelFormat &f : { formats::RGB888, formats::BGR888, formats::XRGB8888, formats::XBGR8888 })
					known[f] = { SizeRange(Size(32, 32), kSensor, 2, 2) };
			StreamConfiguration config{ StreamFormats(known) };
			config.pixelFormat = role == StreamRole::Raw ? formats::SRGGB10_CSI2P : formats::XRGB8888;
			config.size = role == StreamRole::Raw ? kSensor : Size(800, 600);
			config.bufferCount = 4;
			all->addConfiguration(config);
		}
		all->validate();
		return all;
	}

	int configure(Camera *camera, CameraConfiguration *config) override
	{
		Data *data = of(camera);
		for (StreamConfiguration &c : *config)
			c.setStream(is_raw(c.pixelFormat) ? &data->raw_ : &data->main_);
		data->shape_ = config->at(0);
		data->orientation_ = config->orientation;
		Size wanted = data->shape_.size;
		for (const StreamConfiguration &c : *config)
			if (is_raw(c.pixelFormat))
				wanted = c.size;
		if (config->sensorConfig)
			wanted = config->sensorConfig->outputSize;
		const Mode *mode = std::min_element(std::begin(kReads), std::end(kReads), [&](const Mode &a, const Mode &b) {
			const auto away = [&](const Mode &m) { return abs(int(m.size.width - wanted.width)) + abs(int(m.size.height - wanted.height)); };
			return away(a) < away(b);
		});
		data->shortest_us_ = mode->shortest_us;
		data->controlInfo_ = limits(*mode, data->shape_.size);
		data->scene_ = std::make_unique<Scene>();
		return 0;
	}

	int exportFrameBuffers(Camera *, Stream *, std::vector<std::unique_ptr<FrameBuffer>> *) override
	{
		return -ENOSYS; /* picamera2 brings its own, from the DMA heap */
	}

	int start(Camera *camera, const ControlList *controls) override
	{
		Data *data = of(camera);
		if (controls)
			pace(data, *controls);
		data->running_ = true;
		data->shown_ = 0;
		data->run_++;
		data->worker_ = std::thread([this, data] { work(data); });
		return 0;
	}

	void stopDevice(Camera *camera) override
	{
		while (is_there("stuck"))
			usleep(10000);
		Data *data = of(camera);
		{
			std::lock_guard<std::mutex> guard(data->lock_);
			data->running_ = false;
			data->waiting_.clear();
			data->run_++;
		}
		data->changed_.notify_all();
		if (data->worker_.joinable())
			data->worker_.join();
		while (!data->queuedRequests_.empty())
			cancelRequest(data->queuedRequests_.front());
	}

	int queueRequestDevice(Camera *camera, Request *request) override
	{
		Data *data = of(camera);
		pace(data, request->controls());
		{
			std::lock_guard<std::mutex> guard(data->lock_);
			data->waiting_.push_back(request);
		}
		data->changed_.notify_all();
		return 0;
	}

	bool acquireDevice(Camera *camera) override
	{
		Data *data = of(camera);
		data->busy_ = open(place("lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
		if (data->busy_ >= 0 && !flock(data->busy_, LOCK_EX | LOCK_NB))
			return true;
		close(data->busy_);
		return false;
	}

	void releaseDevice(Camera *camera) override { close(of(camera)->busy_); }

private:
	/* What a mode allows, and how much of it is in a picture of this shape: a Pi's handler says the same. */
	ControlInfoMap limits(const Mode &mode, const Size &shape)
	{
		const Size seen = mode.crop.size().boundedToAspectRatio(shape);
		ControlInfoMap::Map map;
		map[&controls::FrameDurationLimits] = ControlInfo(mode.shortest_us, kLongestUs, int64_t(33333));
		map[&controls::ScalerCrop] = ControlInfo(Rectangle(0, 0, 64, 64), mode.crop, seen.centeredTo(mode.crop.center()));
		map[&controls::ExposureTime] = ControlInfo(75, 11766829, 20000);
		return ControlInfoMap(std::move(map), controls::controls);
	}

	Data *of(Camera *camera) { return static_cast<Data *>(camera->_d()); }

	void pace(Data *data, const ControlList &controls)
	{
		const auto limits = controls.get(controls::FrameDurationLimits);
		if (limits && (*limits)[0] > 0)
			data->frame_us_ = std::clamp((*limits)[0], data->shortest_us_, kLongestUs);
	}

	void work(Data *data)
	{
		Clock::time_point next = Clock::now();
		std::unique_lock<std::mutex> guard(data->lock_);
		while (data->running_) {
			next = std::max(next + std::chrono::microseconds(data->frame_us_), Clock::now());
			while (data->running_ && (Clock::now() < next || data->waiting_.empty() || is_there("loose")))
				data->changed_.wait_for(guard, std::chrono::milliseconds(2));
			if (!data->running_)
				return;
			Request *request = data->waiting_.front();
			data->waiting_.pop_front();
			const int64_t exposed = Clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
			for (const auto &[stream, buffer] : request->buffers()) {
				if (stream == &data->main_)
					fill(data, buffer, exposed);
			}
#if LIBCAMERA_VERSION_MAJOR == 0 && LIBCAMERA_VERSION_MINOR < 6
			ControlList &metadata = request->metadata();
#else
			ControlList &metadata = request->_d()->metadata();
#endif
			metadata.set(controls::SensorTimestamp, exposed);
			metadata.set(controls::FrameDuration, data->frame_us_.load());
			metadata.set(controls::ExposureTime, 20000);
			invokeMethod(&PlayCsi::complete, ConnectionTypeQueued, request, data, data->run_);
		}
	}

	void fill(Data *data, FrameBuffer *buffer, int64_t exposed)
	{
		FrameMetadata &said = buffer->_d()->metadata();
		said.status = is_there("error") ? FrameMetadata::FrameError : FrameMetadata::FrameSuccess;
		said.sequence = data->shown_++;
		said.timestamp = exposed;
		said.planes()[0].bytesused = data->shape_.frameSize;
		void *to = mmap(nullptr, data->shape_.frameSize, PROT_READ | PROT_WRITE, MAP_SHARED, buffer->planes()[0].fd.get(), 0);
		if (to == MAP_FAILED)
			return;
		data->scene_->paint(static_cast<uint8_t *>(to), data->shape_, data->orientation_, said.sequence);
		munmap(to, data->shape_.frameSize);
	}

	void complete(Request *request, Data *data, unsigned int run)
	{
		if (run != data->run_) /* stopped in the meantime: it was cancelled */
			return;
		for (const auto &[stream, buffer] : request->buffers())
			completeBuffer(request, buffer);
		completeRequest(request);
	}
};

REGISTER_PIPELINE_HANDLER(PlayCsi, "play-csi")

} /* namespace */

/* The DMA heap, for kernels without: an opened heap is /dev/null, a buffer is a memfd, and there is nothing to synchronise. */
namespace {

bool is_heap(const char *path) { return !strncmp(path, "/dev/dma_heap/", 14); }

template<typename F>
F *next(const char *name) { return reinterpret_cast<F *>(dlsym(RTLD_NEXT, name)); }

} /* namespace */

extern "C" int open(const char *path, int flags, ...)
{
	static auto real = next<int(const char *, int, ...)>("open");
	va_list rest;
	va_start(rest, flags);
	const int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, int) : 0;
	va_end(rest);
	return real(is_heap(path) ? "/dev/null" : path, flags, mode);
}

extern "C" int open64(const char *path, int flags, ...)
{
	static auto real = next<int(const char *, int, ...)>("open64");
	va_list rest;
	va_start(rest, flags);
	const int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, int) : 0;
	va_end(rest);
	return real(is_heap(path) ? "/dev/null" : path, flags, mode);
}

extern "C" int ioctl(int fd, unsigned long request, ...) noexcept
{
	static auto real = next<int(int, unsigned long, ...)>("ioctl");
	va_list rest;
	va_start(rest, request);
	void *argument = va_arg(rest, void *);
	va_end(rest);
	switch (static_cast<uint32_t>(request)) { /* Python hands it on with the sign extended */
	case static_cast<uint32_t>(DMA_HEAP_IOCTL_ALLOC): {
		auto *wanted = static_cast<dma_heap_allocation_data *>(argument);
		const int buffer = memfd_create("dma-buf", MFD_CLOEXEC);
		if (buffer < 0 || ftruncate(buffer, wanted->len))
			return -1;
		wanted->fd = buffer;
		return 0;
	}
	case static_cast<uint32_t>(DMA_BUF_IOCTL_SYNC):
	case static_cast<uint32_t>(DMA_BUF_SET_NAME_A):
	case static_cast<uint32_t>(DMA_BUF_SET_NAME_B):
		return 0;
	}
	return real(fd, request, argument);
}
