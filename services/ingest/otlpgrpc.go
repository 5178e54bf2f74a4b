package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip" // clients may compress
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/midwatch/midwatch/storage/bus"
	"github.com/midwatch/midwatch/storage/catalog"
)

// maxStreams bounds the calls of one connection at one time.
const maxStreams = 64

// maxIdle is how long a connection without calls is kept.
const maxIdle = 5 * time.Minute

// GRPCOptions are what a gRPC server needs to keep within the limits of intake.
func (s *Server) GRPCOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(int(s.cfg.MaxBodyBytes)),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: maxIdle}),
		grpc.ForceServerCodecV2(bytesCodec{encoding.GetCodecV2(protocodec.Name)}),
	}
}

// RegisterGRPC adds the OTLP services of the served signals to a server with GRPCOptions.
func (s *Server) RegisterGRPC(g *grpc.Server) {
	if s.serve.Metrics {
		register(g, s, bus.Metrics, colmetricspb.MetricsService_ServiceDesc, decodeMetrics, s.exportMetrics)
	}
	if s.serve.Logs {
		register(g, s, bus.Logs, collogspb.LogsService_ServiceDesc, decoder[*collogspb.ExportLogsServiceRequest], s.exportLogs)
	}
	if s.serve.Metrics || s.serve.Logs {
		register(g, s, traces, coltracepb.TraceService_ServiceDesc, decoder[*coltracepb.ExportTraceServiceRequest], s.exportTraces)
	}
}

// register adds a service whose one method is Export. The generated handlers decode a message
// before anyone has looked at the key; this one does not.
func register[Request any, Response proto.Message](
	g *grpc.Server, s *Server, signal bus.Signal, desc grpc.ServiceDesc,
	decode func(project catalog.Project, body []byte, json bool) (Request, error),
	keep func(ctx context.Context, e exporter, req Request) (Response, error),
) {
	method := "/" + desc.ServiceName + "/Export"
	g.RegisterService(&grpc.ServiceDesc{
		ServiceName: desc.ServiceName,
		HandlerType: (*any)(nil),
		Metadata:    desc.Metadata,
		Methods: []grpc.MethodDesc{{
			MethodName: "Export",
			Handler: func(_ any, ctx context.Context, receive func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				resp, err := call(ctx, s, signal, method, receive, decode, keep)
				if err != nil {
					return nil, err
				}
				return resp, nil
			},
		}},
	}, nil)
}

// encoded is a message as it was sent.
type encoded []byte

// bytesCodec hands out messages as they were sent to those who ask for them so.
type bytesCodec struct{ encoding.CodecV2 }

func (c bytesCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if to, ok := v.(*encoded); ok {
		*to = data.Materialize()
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}

// call serves one OTLP/gRPC request: the same steps for every signal.
func call[Request any, Response proto.Message](
	ctx context.Context, s *Server, signal bus.Signal, method string, receive func(any) error,
	decode func(project catalog.Project, body []byte, json bool) (Request, error),
	keep func(ctx context.Context, e exporter, req Request) (Response, error),
) (resp Response, err error) {
	start := time.Now()
	var size int
	defer func() {
		if p := recover(); p != nil {
			// gRPC has nobody above who would catch it, and one request must not end all others.
			s.log.ErrorContext(ctx, "panic in intake", "protocol", otlpGRPC, "signal", string(signal), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = s.statusOf(&retryError{http.StatusServiceUnavailable, s.cfg.RetryAfter, "this cannot be taken right now, send it again later", nil})
		}
		s.meter.request(ctx, signal, otlpGRPC, status.Code(err).String(), int64(size), time.Since(start))
	}()
	md, _ := metadata.FromIncomingContext(ctx)
	project, err := s.projectOf(ctx, offeredKeys(md.Get("x-midwatch-key"), md.Get("authorization")))
	if err != nil {
		return resp, s.statusOf(err)
	}
	var body encoded
	if err := receive(&body); err != nil {
		return resp, err
	}
	size = len(body)
	if !s.held.take(int64(size)) {
		return resp, s.statusOf(s.busy())
	}
	defer s.held.give(int64(size))
	req, err := decode(project, body, false)
	if err != nil {
		return resp, status.Errorf(codes.InvalidArgument, "the message is not an OTLP %s request: %s", signal, err)
	}
	resp, err = keep(ctx, exporter{project, requestID(project.Number, method, body), otlpGRPC}, req)
	if errors.Is(err, errTooLarge) {
		return resp, status.Error(codes.InvalidArgument, err.Error())
	}
	if err != nil {
		s.warn(ctx, project.Number, otlpGRPC, err)
		return resp, s.statusOf(err)
	}
	return resp, nil
}

// statusOf words an error as gRPC does. Clients repeat a request only if they are told when.
func (s *Server) statusOf(err error) error {
	if errors.Is(err, errNoKey) || errors.Is(err, errWrongKey) {
		return status.Error(codes.Unauthenticated, err.Error())
	}
	retry := s.retryable(err)
	code := codes.Unavailable
	if retry.status == http.StatusTooManyRequests {
		code = codes.ResourceExhausted
	}
	st, err := status.New(code, retry.message).WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(retry.after)})
	if err != nil {
		return status.Error(codes.Unavailable, retry.message)
	}
	return st.Err()
}
