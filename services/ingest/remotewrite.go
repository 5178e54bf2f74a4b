package ingest

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/klauspost/compress/snappy"
	"github.com/labstack/echo/v4"

	"github.com/midwatch/midwatch/services/ingest/remotewrite"
	"github.com/midwatch/midwatch/storage/bus"
)

const (
	remoteWriteProtocol = "remote_write"

	messageV1 = "prometheus.WriteRequest"
	messageV2 = "io.prometheus.write.v2.Request"

	// snappyRatio is more than what a byte of snappy's block format can unpack to: 64 by three.
	snappyRatio = 22
)

// remoteWrite takes samples from Prometheus and from those who speak as it does, in both versions
// of its protocol. Whatever is answered with 4xx is not sent again, so that only a fault of the
// request may be one.
func (s *Server) remoteWrite(c echo.Context) error {
	r := c.Request()
	ctx := r.Context()
	version, err := remoteWriteVersion(r.Header.Get(echo.HeaderContentType))
	if err != nil {
		c.Response().Header().Set("Accept", mimeProtobuf+";proto="+messageV2+", "+mimeProtobuf)
		return c.String(http.StatusUnsupportedMediaType, err.Error())
	}
	noteWritten(c, version, 0)
	project, err := s.project(ctx, r.Header)
	if err != nil {
		return s.refuseRemoteWrite(c, 0, err)
	}
	body, packed, err := s.snappyBody(c, s.cfg.MaxBodyBytes)
	if err != nil {
		return s.refuseRemoteWrite(c, project.Number, err)
	}
	req, err := remotewrite.Decode(version, body, window(project.Retention.Metrics))
	if err != nil {
		message := messageV1
		if version == remotewrite.V2 {
			message = messageV2
		}
		return c.String(http.StatusBadRequest, fmt.Sprintf("the body is not a %s: %s", message, err))
	}
	defer req.Release()
	if err := s.spend(project.Number, bus.Metrics, req.Samples()); err != nil {
		return s.refuseRemoteWrite(c, project.Number, err)
	}
	// A sender repeats what it has packed once. That is several times shorter, and so is its hash.
	if err := s.publishMetrics(ctx, project, requestID(project.Number, r.URL.Path, packed), req.Set); err != nil {
		return s.refuseRemoteWrite(c, project.Number, err)
	}
	s.meter.accepted(ctx, bus.Metrics, remoteWriteProtocol, req.Samples())
	for reason, n := range req.ByReason {
		s.meter.rejected(ctx, bus.Metrics, remoteWriteProtocol, reason, n)
	}
	noteWritten(c, version, req.Samples())
	if req.Rejected > 0 {
		return c.String(http.StatusBadRequest, req.Message())
	}
	// Exemplars that are not kept are no reason to have Prometheus count the samples as failed:
	// 2.0 tells their number in a header.
	return c.NoContent(http.StatusNoContent)
}

// remoteWriteVersion is the version that a Content-Type stands for. What does not name a message
// is 1.0, as is what has no type at all.
func remoteWriteVersion(contentType string) (remotewrite.Version, error) {
	if contentType == "" {
		return remotewrite.V1, nil
	}
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return 0, fmt.Errorf("content type %q cannot be read: %w", contentType, err)
	}
	switch media {
	case mimeProtobuf, "application/protobuf", "application/vnd.google.protobuf":
	default:
		return 0, fmt.Errorf("content type %q is not that of remote write: send %s", contentType, mimeProtobuf)
	}
	switch message := params["proto"]; message {
	case "", messageV1:
		return remotewrite.V1, nil
	case messageV2:
		return remotewrite.V2, nil
	default:
		return 0, fmt.Errorf("message %q is not known here: send %s or %s", message, messageV2, messageV1)
	}
}

// noteWritten tells a sender of 2.0 what is stored. One that is not told takes it that the
// server does not know 2.0.
func noteWritten(c echo.Context, version remotewrite.Version, samples int) {
	if version != remotewrite.V2 {
		return
	}
	h := c.Response().Header()
	h.Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(samples))
	h.Set("X-Prometheus-Remote-Write-Histograms-Written", "0")
	h.Set("X-Prometheus-Remote-Write-Exemplars-Written", "0")
}

// snappyBody is body for snappy's block format, which it is in also where no encoding is given. It
// returns the body as it was sent as well.
func (s *Server) snappyBody(c echo.Context, limit int64) (body, packed []byte, err error) {
	encoding := c.Request().Header.Get(echo.HeaderContentEncoding)
	if e := strings.TrimSpace(encoding); e != "" && !strings.EqualFold(e, "snappy") {
		return nil, nil, fmt.Errorf("%w %q: send snappy", errEncoding, encoding)
	}
	packed, err = s.bodyAs(c, "identity", limit)
	if err != nil {
		return nil, nil, err
	}
	n, err := snappy.DecodedLen(packed)
	if err != nil {
		return nil, nil, fmt.Errorf("%w as snappy: %w", errCorrupt, err)
	}
	if int64(n) > limit {
		return nil, nil, tooLarge(limit)
	}
	if n > snappyRatio*len(packed) {
		return nil, nil, fmt.Errorf("%w as snappy: %d bytes cannot become %d", errCorrupt, len(packed), n)
	}
	l, _ := c.Get(leaseKey).(*lease)
	if l == nil {
		l = new(lease)
		defer func() { s.held.give(l.held) }()
	}
	p := buffers.Get().(*[]byte)
	l.buffers = append(l.buffers, p)
	if err := s.hold(l, int64(max(n, cap(*p)))); err != nil {
		return nil, nil, err
	}
	if cap(*p) < n {
		*p = make([]byte, 0, n)
	}
	body, err = snappy.Decode((*p)[:0], packed)
	if err != nil {
		return nil, nil, fmt.Errorf("%w as snappy: %w", errCorrupt, err)
	}
	*p = body
	l.bytes += int64(n - len(packed))
	return body, packed, nil
}

// refuseRemoteWrite answers for an error of any of the steps. A full buffer is 503: Prometheus
// throws away what was answered with 429 unless it is told otherwise.
func (s *Server) refuseRemoteWrite(c echo.Context, project uint32, err error) error {
	switch {
	case errors.Is(err, errNoKey), errors.Is(err, errWrongKey):
		c.Response().Header().Set(echo.HeaderWWWAuthenticate, "Bearer")
		return c.String(http.StatusUnauthorized, err.Error())
	case errors.Is(err, errTooLarge):
		return c.String(http.StatusRequestEntityTooLarge, err.Error())
	case errors.Is(err, errEncoding):
		return c.String(http.StatusUnsupportedMediaType, err.Error())
	case errors.Is(err, errTruncated), errors.Is(err, errCorrupt):
		return c.String(http.StatusBadRequest, err.Error())
	}
	retry := s.retryable(err)
	s.warn(c.Request().Context(), project, remoteWriteProtocol, retry)
	c.Response().Header().Set(echo.HeaderRetryAfter, retry.seconds())
	return c.String(retry.status, retry.message)
}
