// The shop example is a service for orders on the application layer: it takes
// commands over HTTP, ships what is paid, lists what is due and cancels what is
// not paid in time. docs/tutorial.md builds it step by step.
//
//	go run ./examples/shop -config examples/shop/memory.yaml
//	go run ./examples/shop -config examples/shop/sqlite.yaml
//	go run ./examples/shop -config examples/shop/postgres.yaml
//
// The config files differ in the one line that says where the events are.
// postgres.yaml takes the URL from SHOP_POSTGRES, and marten.yaml from SHOP_MARTEN.
//
// What a shop needs and this one leaves out: it does not ask who sends a request,
// so it listens on this machine alone, and it knows nothing of goods, stock and
// refunds.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/switchyard-dev/switchyard/backends/all"
	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/decider"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/examples/shop/fulfilment"
	"github.com/switchyard-dev/switchyard/examples/shop/order"
)

// settings are the flags.
type settings struct {
	config, list, warehouse, address, traces string
	payWithin                                time.Duration
}

func main() {
	var s settings
	flag.StringVar(&s.config, "config", "switchyard.yaml", "the file that names the store \"orders\"")
	flag.StringVar(&s.list, "list", "sqlite::memory:", "where the order list is: sqlite:FILE or postgres://…; in memory it is made anew at each start")
	flag.StringVar(&s.warehouse, "warehouse", "", "the web address that is sent the shipments; none by default")
	flag.StringVar(&s.address, "address", "127.0.0.1:8080", "where the shop listens")
	flag.StringVar(&s.traces, "traces", "", "the file to which spans are added; none by default")
	flag.DurationVar(&s.payWithin, "pay-within", 14*24*time.Hour, "how long an order waits for its payment")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends it at once
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	err := run(ctx, s, log, func(address net.Addr) { fmt.Printf("the shop listens on http://%s\n", address) })
	if err != nil {
		fmt.Fprintln(os.Stderr, "shop:", err)
		os.Exit(1)
	}
}

// run serves until ctx is done. listening is told where.
func run(ctx context.Context, s settings, log *slog.Logger, listening func(net.Addr)) error {
	tracer, closeTraces, err := openTraces(s.traces)
	if err != nil {
		return err
	}
	defer closeTraces()
	store, err := all.OpenConfig(ctx, s.config, "orders", &eventstore.Options{Logger: log, Tracer: tracer})
	if err != nil {
		return err
	}
	defer store.Close()
	list, closeList, err := openList(ctx, s.list)
	if err != nil {
		return err
	}
	defer closeList()
	form := &codec.Options{Metadata: tracer.Metadata}
	deciding := &decider.Options{CacheSize: 10_000, Logger: log, Tracer: tracer}
	orders, err := order.New(store, order.Events(form), deciding)
	if err != nil {
		return err
	}
	shipping, err := fulfilment.Manager(store, orders, form, deciding)
	if err != nil {
		return err
	}
	work := []func(context.Context) error{
		func(ctx context.Context) error { return store.Run(ctx, shipping) },
		func(ctx context.Context) error { return list.Run(ctx, store) },
		func(ctx context.Context) error { return watch(ctx, orders, list, s.payWithin, log) },
	}
	if s.warehouse != "" {
		telling, err := warehouse(ctx, store, s.warehouse)
		if err != nil {
			return err
		}
		work = append(work, func(ctx context.Context) error { return store.Run(ctx, telling) })
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.address)
	if err != nil {
		return err
	}
	listening(listener.Addr())
	return serve(ctx, listener, traced((&shop{orders, list, log}).handler()), work)
}

// serve answers requests and does work beside until ctx is done, or some work fails.
// The work ends after the last request, which may wait for the list.
func serve(ctx context.Context, listener net.Listener, handler http.Handler, work []func(context.Context) error) error {
	working, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	g, working := errgroup.WithContext(working)
	for _, do := range work {
		g.Go(func() error { return do(working) })
	}
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute,
	}
	g.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		defer end()
		select {
		case <-ctx.Done():
		case <-working.Done():
		}
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return server.Shutdown(grace)
	})
	return g.Wait()
}
