package ingest

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/midwatch/midwatch/services/ingest/otlp"
	"github.com/midwatch/midwatch/services/ingest/record"
	"github.com/midwatch/midwatch/services/ingest/series"
	"github.com/midwatch/midwatch/storage/bus"
	"github.com/midwatch/midwatch/storage/catalog"
)

const (
	mimeProtobuf = "application/x-protobuf"

	otlpHTTP = "otlp_http"
	otlpGRPC = "otlp_grpc"
)

// tracesNotKept is what those who send traces are told: that it is no fault of theirs, and
// nothing to repeat.
const tracesNotKept = "traces are not kept yet: metrics and logs are; set OTEL_TRACES_EXPORTER=none to stop sending them"

func (s *Server) otlpLogs(c echo.Context) error {
	return export(s, c, bus.Logs, decoder[*collogspb.ExportLogsServiceRequest], s.exportLogs)
}

func (s *Server) otlpMetrics(c echo.Context) error {
	return export(s, c, bus.Metrics, decodeMetrics, s.exportMetrics)
}

func (s *Server) otlpTraces(c echo.Context) error {
	return export(s, c, traces, decoder[*coltracepb.ExportTraceServiceRequest], s.exportTraces)
}

// export serves one OTLP/HTTP request: the same steps for every signal.
func export[Request any, Response proto.Message](
	s *Server, c echo.Context, signal bus.Signal,
	decode func(project catalog.Project, body []byte, json bool) (Request, error),
	keep func(ctx context.Context, e exporter, req Request) (Response, error),
) error {
	r := c.Request()
	ctx := r.Context()
	var wire otlpCodec
	switch contentType, _, _ := mime.ParseMediaType(r.Header.Get(echo.HeaderContentType)); contentType {
	case mimeProtobuf, "application/protobuf":
		wire = otlpCodec{contentType: contentType}
	case echo.MIMEApplicationJSON:
		wire = otlpCodec{contentType: contentType, json: true}
	default:
		c.Response().Header().Set("Accept", mimeProtobuf+", "+echo.MIMEApplicationJSON)
		wire = otlpCodec{contentType: echo.MIMEApplicationJSON, json: true}
		return wire.fail(c, http.StatusUnsupportedMediaType, codes.InvalidArgument,
			fmt.Sprintf("content type %q is not OTLP: send %s or %s", r.Header.Get(echo.HeaderContentType), mimeProtobuf, echo.MIMEApplicationJSON))
	}
	project, err := s.project(ctx, r.Header)
	if err != nil {
		return wire.refuse(s, c, 0, err)
	}
	body, err := s.body(c, s.cfg.MaxBodyBytes)
	if err != nil {
		return wire.refuse(s, c, project.Number, err)
	}
	req, err := decode(project, body, wire.json)
	if errors.Is(err, otlp.ErrTooManyMessages) {
		return wire.fail(c, http.StatusRequestEntityTooLarge, codes.ResourceExhausted, err.Error())
	} else if err != nil {
		return wire.fail(c, http.StatusBadRequest, codes.InvalidArgument, fmt.Sprintf("the body is not an OTLP %s request as %s: %s", signal, wire.contentType, err))
	}
	resp, err := keep(ctx, exporter{project, requestID(project.Number, r.URL.Path, body), otlpHTTP}, req)
	if err != nil {
		return wire.refuse(s, c, project.Number, err)
	}
	return wire.answer(c, http.StatusOK, resp)
}

// otlpCodec is the form in which a client of OTLP/HTTP speaks and is answered.
type otlpCodec struct {
	contentType string
	json        bool
}

// decoder decodes a request into its generated struct, unless it would take far more memory than
// its bytes.
func decoder[M interface {
	*T
	proto.Message
}, T any](_ catalog.Project, body []byte, json bool) (M, error) {
	m := M(new(T))
	if json {
		return m, decodeJSON(body, m)
	}
	if err := otlp.Scan(body, m.ProtoReflect().Descriptor()); err != nil {
		return nil, err
	}
	return m, proto.Unmarshal(body, m)
}

func decodeJSON(body []byte, m proto.Message) error {
	if len(body) == 0 {
		return nil // as in protobuf: a request that asks for nothing
	}
	return otlp.UnmarshalJSON(string(body), m)
}

// samples are what is kept of a request of metrics, and what is not.
type samples struct {
	*series.Set
	rejections *otlp.Rejections
}

func decodeMetrics(project catalog.Project, body []byte, json bool) (samples, error) {
	times := window(project.Retention.Metrics)
	if json {
		req := new(colmetricspb.ExportMetricsServiceRequest)
		if err := decodeJSON(body, req); err != nil {
			return samples{}, err
		}
		set, rejections := otlp.Metrics(req, times)
		return samples{set, rejections}, nil
	}
	set, rejections, err := otlp.DecodeMetrics(body, times)
	return samples{set, rejections}, err
}

func (w otlpCodec) answer(c echo.Context, code int, m proto.Message) error {
	encode := proto.Marshal
	if w.json {
		encode = protojson.Marshal
	}
	b, err := encode(m)
	if err != nil {
		return fmt.Errorf("encode OTLP answer: %w", err)
	}
	return c.Blob(code, w.contentType, b)
}

func (w otlpCodec) fail(c echo.Context, code int, grpcCode codes.Code, message string) error {
	return w.answer(c, code, &status.Status{Code: int32(grpcCode), Message: message})
}

// refuse answers for an error of any of the steps.
func (w otlpCodec) refuse(s *Server, c echo.Context, project uint32, err error) error {
	switch {
	case errors.Is(err, errNoKey), errors.Is(err, errWrongKey):
		c.Response().Header().Set(echo.HeaderWWWAuthenticate, "Bearer")
		return w.fail(c, http.StatusUnauthorized, codes.Unauthenticated, err.Error())
	case errors.Is(err, errTooLarge):
		return w.fail(c, http.StatusRequestEntityTooLarge, codes.ResourceExhausted, err.Error())
	case errors.Is(err, errEncoding):
		return w.fail(c, http.StatusUnsupportedMediaType, codes.InvalidArgument, err.Error())
	case errors.Is(err, errTruncated), errors.Is(err, errCorrupt):
		return w.fail(c, http.StatusBadRequest, codes.InvalidArgument, err.Error())
	}
	retry := s.retryable(err)
	s.warn(c.Request().Context(), project, otlpHTTP, retry)
	c.Response().Header().Set(echo.HeaderRetryAfter, retry.seconds())
	code := codes.Unavailable
	if retry.status == http.StatusTooManyRequests {
		code = codes.ResourceExhausted
	}
	return w.fail(c, retry.status, code, retry.message)
}

// exporter says who exports, and how a repetition of the same request is recognised.
type exporter struct {
	project   catalog.Project
	requestID string
	protocol  string
}

// exportLogs keeps the records of a request. Errors are for Server.retryable.
func (s *Server) exportLogs(ctx context.Context, e exporter, req *collogspb.ExportLogsServiceRequest) (*collogspb.ExportLogsServiceResponse, error) {
	groups, rejections := otlp.Logs(req, window(e.project.Retention.Logs))
	n := 0
	for _, g := range groups {
		n += len(g.Records)
	}
	if err := s.spend(e.project.Number, bus.Logs, n); err != nil {
		return nil, err
	}
	if err := s.publishLogs(ctx, e.project, e.requestID, groups); err != nil {
		return nil, err
	}
	s.meter.accepted(ctx, bus.Logs, e.protocol, n)
	s.countRejections(ctx, bus.Logs, e.protocol, rejections)
	resp := new(collogspb.ExportLogsServiceResponse)
	if rejections.Count > 0 {
		resp.PartialSuccess = &collogspb.ExportLogsPartialSuccess{RejectedLogRecords: rejections.Count, ErrorMessage: rejections.Message()}
	}
	return resp, nil
}

// exportMetrics is exportLogs for metrics. What counts are samples: a histogram's point is many. It
// releases what it is given.
func (s *Server) exportMetrics(ctx context.Context, e exporter, req samples) (*colmetricspb.ExportMetricsServiceResponse, error) {
	defer req.Release()
	n := req.Samples()
	if err := s.spend(e.project.Number, bus.Metrics, n); err != nil {
		return nil, err
	}
	if err := s.publishMetrics(ctx, e.project, e.requestID, req.Set); err != nil {
		return nil, err
	}
	s.meter.accepted(ctx, bus.Metrics, e.protocol, n)
	s.countRejections(ctx, bus.Metrics, e.protocol, req.rejections)
	resp := new(colmetricspb.ExportMetricsServiceResponse)
	if req.rejections.Count > 0 {
		resp.PartialSuccess = &colmetricspb.ExportMetricsPartialSuccess{RejectedDataPoints: req.rejections.Count, ErrorMessage: req.rejections.Message()}
	}
	return resp, nil
}

// exportTraces rejects every span of a request in a way that lets its sender go on.
func (s *Server) exportTraces(ctx context.Context, e exporter, req *coltracepb.ExportTraceServiceRequest) (*coltracepb.ExportTraceServiceResponse, error) {
	n := 0
	for _, rs := range req.GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			n += len(ss.GetSpans())
		}
	}
	resp := new(coltracepb.ExportTraceServiceResponse)
	if n > 0 {
		s.meter.rejected(ctx, traces, e.protocol, "not_kept", n)
		resp.PartialSuccess = &coltracepb.ExportTracePartialSuccess{RejectedSpans: int64(n), ErrorMessage: tracesNotKept}
	}
	return resp, nil
}

func (s *Server) countRejections(ctx context.Context, signal bus.Signal, protocol string, r *otlp.Rejections) {
	for reason, n := range r.ByReason {
		s.meter.rejected(ctx, signal, protocol, reason, n)
	}
}

// window is the range of times that is taken now of what is kept for some days.
func window(keptDays int) record.Window { return record.NewWindow(time.Now(), keptDays) }
