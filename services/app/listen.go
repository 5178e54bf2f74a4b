package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/labstack/echo/v4"
	"google.golang.org/grpc"

	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/services/config"
)

// listeners are the ports of a process. A role alone opens those that it serves.
type listeners struct {
	urls access.URLs

	public, otlp, internal *listener
	grpcListener           net.Listener
	grpc                   *grpc.Server
	mail                   net.Listener // where mails are answered; nil is nowhere
}

// listener is one HTTP port with its router.
type listener struct {
	net.Listener
	echo   *echo.Echo
	server *http.Server
}

// listen takes the ports. One that is taken is named with its variable.
func listen(ctx context.Context, cfg config.Config, r roles) (_ *listeners, err error) {
	l := &listeners{}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.internal, err = listenHTTP(ctx, cfg, cfg.InternalHost, "MIDWATCH_INTERNAL_PORT", cfg.InternalPort); err != nil {
		return nil, err
	}
	if r.ingest() || r.has(Query, Console) {
		if l.public, err = listenHTTP(ctx, cfg, cfg.ListenHost, "MIDWATCH_HTTP_PORT", cfg.HTTPPort); err != nil {
			return nil, err
		}
	}
	if r.has(IngestMetrics, IngestLogs) {
		if l.otlp, err = listenHTTP(ctx, cfg, cfg.ListenHost, "MIDWATCH_OTLP_HTTP_PORT", cfg.OTLPHTTPPort); err != nil {
			return nil, err
		}
		if l.grpcListener, err = listenTCP(ctx, cfg.ListenHost, "MIDWATCH_OTLP_GRPC_PORT", cfg.OTLPGRPCPort); err != nil {
			return nil, err
		}
	}
	if r.has(Alerting) && cfg.MailListen != "" {
		host, port, err := net.SplitHostPort(cfg.MailListen)
		if err != nil {
			return nil, fmt.Errorf("MIDWATCH_MAIL_LISTEN: %w", err)
		}
		number, err := strconv.Atoi(port)
		if err != nil {
			return nil, fmt.Errorf("MIDWATCH_MAIL_LISTEN: %w", err)
		}
		if l.mail, err = listenTCP(ctx, host, "MIDWATCH_MAIL_LISTEN", number); err != nil {
			return nil, err
		}
	}
	l.urls = access.URLs{HTTP: cfg.PublicURL, OTLPHTTP: cfg.PublicOTLPURL, OTLPGRPC: cfg.PublicGRPCURL}
	if l.urls.HTTP == "" {
		l.urls.HTTP = ownURL(cfg.ListenHost, l.public, cfg.HTTPPort)
	}
	if l.urls.OTLPHTTP == "" {
		l.urls.OTLPHTTP = ownURL(cfg.ListenHost, l.otlp, cfg.OTLPHTTPPort)
	}
	if l.urls.OTLPGRPC == "" {
		port := cfg.OTLPGRPCPort
		if l.grpcListener != nil {
			port = l.grpcListener.Addr().(*net.TCPAddr).Port
		}
		l.urls.OTLPGRPC = hostURL(cfg.ListenHost, port)
	}
	return l, nil
}

func listenTCP(ctx context.Context, host, variable string, port int) (net.Listener, error) {
	var listener net.ListenConfig
	n, err := listener.Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("port %d is taken by another program; stop it or set %s", port, variable)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s port %d (%s): %w", host, port, variable, err)
	}
	return n, nil
}

func listenHTTP(ctx context.Context, cfg config.Config, host, variable string, port int) (*listener, error) {
	n, err := listenTCP(ctx, host, variable, port)
	if err != nil {
		return nil, err
	}
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.IPExtractor = clientIP(cfg.TrustedProxies)
	return &listener{n, e, &http.Server{
		Handler:           e,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       2 * time.Minute, // of a whole body: a sender that trickles is cut off
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}}, nil
}

// clientIP finds who sent a request: the peer, or, where that is a trusted proxy, whom it names in
// X-Forwarded-For.
func clientIP(trusted []config.Network) echo.IPExtractor {
	if len(trusted) == 0 {
		return echo.ExtractIPDirect()
	}
	options := []echo.TrustOption{echo.TrustLoopback(false), echo.TrustLinkLocal(false), echo.TrustPrivateNet(false)}
	for _, network := range trusted {
		options = append(options, echo.TrustIPRange(&network.IPNet))
	}
	return echo.ExtractIPFromXFFHeader(options...)
}

// ownURL is how this machine reaches a listener; where it is another process, by its usual port.
func ownURL(host string, l *listener, port int) string {
	if l != nil {
		port = l.Addr().(*net.TCPAddr).Port
	}
	return hostURL(host, port)
}

func hostURL(host string, port int) string {
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(port))
}

func (l *listeners) http() []*listener {
	var all []*listener
	for _, one := range []*listener{l.public, l.otlp, l.internal} {
		if one != nil {
			all = append(all, one)
		}
	}
	return all
}

// serve answers on every port until stop.
func (l *listeners) serve(s *stage, log *slog.Logger) {
	for _, one := range l.http() {
		one.server.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelDebug)
		s.Go(func(context.Context) error {
			if err := one.server.Serve(one); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve %s: %w", one.Addr(), err)
			}
			return nil
		})
	}
	if l.grpc != nil {
		s.Go(func(context.Context) error {
			if err := l.grpc.Serve(l.grpcListener); err != nil {
				return fmt.Errorf("serve %s: %w", l.grpcListener.Addr(), err)
			}
			return nil
		})
	}
}

// stop takes no new requests and lets those under way finish, for timeout at most. The internal
// port goes last, so that health can be asked until the end.
func (l *listeners) stop(timeout time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var public sync.WaitGroup
	if l.grpc != nil {
		public.Go(func() {
			cut := context.AfterFunc(ctx, l.grpc.Stop)
			defer cut()
			l.grpc.GracefulStop()
		})
	}
	for _, one := range []*listener{l.public, l.otlp} {
		if one != nil {
			public.Go(func() { one.stop(ctx) })
		}
	}
	public.Wait()
	ctx, cancel = context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	l.internal.stop(ctx)
}

// stop waits for the requests under way until ctx ends and cuts what is left then.
func (l *listener) stop(ctx context.Context) {
	if l.server.Shutdown(ctx) != nil {
		l.server.Close()
	}
}

// close lets go of ports that were taken and never served.
func (l *listeners) close() {
	for _, one := range l.http() {
		one.Close()
	}
	if l.grpcListener != nil {
		l.grpcListener.Close()
	}
	if l.mail != nil {
		l.mail.Close()
	}
}
