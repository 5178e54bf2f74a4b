package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"time"

	"github.com/labstack/echo/v4"
	"google.golang.org/grpc"

	"github.com/midwatch/midwatch/alerts/desk"
	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/notify/email"
	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/services/alerting"
	"github.com/midwatch/midwatch/services/alerting/replies"
	"github.com/midwatch/midwatch/services/config"
	"github.com/midwatch/midwatch/services/console"
	"github.com/midwatch/midwatch/services/deadletter"
	"github.com/midwatch/midwatch/services/external"
	"github.com/midwatch/midwatch/services/ingest"
	"github.com/midwatch/midwatch/services/keeper"
	"github.com/midwatch/midwatch/services/query"
	"github.com/midwatch/midwatch/services/self"
	"github.com/midwatch/midwatch/services/writer"
	"github.com/midwatch/midwatch/ui"
)

// workers are the roles that run by themselves; the others only answer on listeners.
type workers struct {
	loops []func(context.Context) error
}

// wire makes the roles from the parts and mounts their routes. It starts nothing.
func wire(cfg config.Config, own *self.Self, p *parts, l *listeners, r roles) (*workers, error) {
	w := &workers{}
	own.MountInternal(l.internal.echo)
	for _, one := range l.http() {
		one.echo.HTTPErrorHandler = access.ErrorHandler(own.Log)
		one.echo.Use(access.RequestID(), own.Watch())
	}
	if r.ingest() {
		server, err := ingest.New(ingest.Config{
			MaxBodyBytes: cfg.Ingest.MaxBodyBytes,
			Meter:        own.Meter("midwatch/ingest"),
		}, ingest.Signals{
			Metrics: r.has(IngestMetrics), Logs: r.has(IngestLogs), Errors: r.has(IngestErrors), Checkins: r.has(IngestCheckins),
		}, ingest.NewKeys(p.catalog), p.bus, p.usage, own.Log)
		if err != nil {
			return nil, err
		}
		server.Mount(l.public.echo)
		if l.otlp != nil {
			server.MountOTLP(l.otlp.echo)
			l.grpc = grpc.NewServer(server.GRPCOptions()...)
			server.RegisterGRPC(l.grpc)
		}
	}
	if r.has(Writer) {
		role, err := writer.New(writer.Config{
			MaxRows: cfg.Writer.MaxRows, MaxBytes: cfg.Writer.MaxBytes, MaxAge: cfg.Writer.MaxAge.Duration,
		}, p.bus, p.catalog, p.store, own.Meter("midwatch/writer"), own.Log)
		if err != nil {
			return nil, err
		}
		w.loops = append(w.loops, func(ctx context.Context) error {
			if err := p.awaitStore(ctx); err != nil || ctx.Err() != nil {
				return err
			}
			return role.Run(ctx)
		})
		keep, err := keeper.New(keeper.Config{MinFree: cfg.Disk.MinFree}, p.catalog, p.store, own.Meter("midwatch/keeper"), own.Log)
		if err != nil {
			return nil, err
		}
		w.loops = append(w.loops, func(ctx context.Context) error {
			if err := p.awaitStore(ctx); err != nil || ctx.Err() != nil {
				return err
			}
			return keep.Run(ctx)
		})
		deadletter.New(p.bus, own.Log).Mount(l.internal.echo)
	}
	office, replyTo, err := incidents(cfg, p, l.urls, own.Log)
	if err != nil {
		return nil, err
	}
	others := external.New(p.catalog, office, own.Log)
	if r.has(Alerting) {
		transport, from, err := mail(cfg)
		if err != nil {
			return nil, err
		}
		role, err := alerting.NewRole(alerting.Config{
			Desk: office, URL: l.urls.HTTP, Mail: transport, MailFrom: from, Allow: cfg.ReceiverAllow, HeartbeatURL: string(cfg.HeartbeatURL),
		}, p.bus, p.catalog, p.store, own.Meter("midwatch/alerting"), own.Log)
		if err != nil {
			return nil, err
		}
		w.loops = append(w.loops, role.Run, others.Run)
		l.internal.echo.GET("/healthz/alerting", echo.WrapHandler(role.Health()))
		l.internal.echo.POST("/drill", echo.WrapHandler(role.Drill()))
		if l.mail != nil {
			answers, err := replies.New(replies.Config{Address: replyTo, Secret: p.linkSecret, Desk: office}, p.catalog, own.Meter("midwatch/alerting"), own.Log)
			if err != nil {
				return nil, err
			}
			w.loops = append(w.loops, func(ctx context.Context) error { return answers.Run(ctx, l.mail) })
		} else if cfg.MailReply != "" {
			own.Log.Warn("mails name an address for answers, and this process does not listen for them", "variable", "MIDWATCH_MAIL_LISTEN")
		}
		// Where the role runs alone its intake is elsewhere, and `midwatch probe` runs beside it.
		if r.has(IngestMetrics) && r.has(IngestLogs) {
			probes := alerting.NewProbes(ownURL(cfg.ListenHost, l.public, cfg.HTTPPort), cfg.ProbeAllow, p.catalog, own.Log)
			w.loops = append(w.loops, probes.Run)
		}
	}
	if r.has(Query, Console) {
		guard := access.New(p.catalog, l.urls)
		if r.has(Query) {
			query.New(query.Config{URLs: l.urls}, p.store, p.catalog, guard, own.Log).Mount(l.public.echo)
		}
		if r.has(Console) {
			console.New(console.Config{
				URLs: l.urls, Desk: office, LinkSecret: p.linkSecret, ProbeAllow: cfg.ProbeAllow,
			}, p.catalog, guard, p.cache, own.Log).Mount(l.public.echo)
			others.Mount(l.public.echo)
			pages := echo.WrapHandler(ui.Handler())
			l.public.echo.Match([]string{http.MethodGet, http.MethodHead}, "/*", pages)
		}
	}
	return w, nil
}

// mail is where mails go: a server, or a folder where none is named.
func mail(cfg config.Config) (email.Transport, string, error) {
	url := string(cfg.SMTPURL)
	if url == "" {
		url = "file:" + filepath.Join(cfg.DataDir, "mail")
	}
	transport, err := email.NewTransport(url)
	if err != nil {
		return nil, "", fmt.Errorf("MIDWATCH_SMTP_URL: %w", err)
	}
	return transport, cfg.MailFrom, nil
}

// incidents is the desk where incidents are changed, and where mails about them are answered.
func incidents(cfg config.Config, p *parts, urls access.URLs, log *slog.Logger) (*desk.Desk, incident.ReplyAddress, error) {
	link := func(id, action, person string, now time.Time) string {
		return urls.HTTP + "/a/" + incident.SignLink(p.linkSecret, incident.Link{
			Incident: id, Action: action, Person: person, Expires: now.Add(incident.LinkLifetime).Unix(),
		})
	}
	c := desk.Config{URL: urls.HTTP, Link: link}
	var replyTo incident.ReplyAddress
	if cfg.MailReply != "" {
		var err error
		if replyTo, err = incident.ParseReplyAddress(cfg.MailReply); err != nil {
			return nil, replyTo, fmt.Errorf("MIDWATCH_MAIL_REPLY: %w", err)
		}
		c.Reply = func(id, person string, now time.Time) string {
			token, err := incident.SignReply(p.linkSecret, id, person, now)
			if err != nil {
				return "" // a page that cannot be answered is better than none
			}
			return replyTo.Of(token)
		}
	}
	return desk.New(c, p.catalog, log), replyTo, nil
}

func (w *workers) run(s *stage) {
	for _, loop := range w.loops {
		s.Go(loop)
	}
}
