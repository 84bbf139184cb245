package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/all"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// asProgram makes the test binary be the shop itself, which can be killed.
const asProgram = "SHOP_TEST_AS_PROGRAM"

// startProgram runs the shop in a process of its own. kill ends it at once.
func startProgram(t *testing.T, s settings) (url string, kill func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-config", s.config, "-list", s.list, "-warehouse", s.warehouse, "-address", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), asProgram+"=1")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	_, url, ok := strings.Cut(strings.TrimSpace(line), "listens on ")
	require.True(t, ok, line)
	return url, func() {
		require.NoError(t, cmd.Process.Kill())
		require.Error(t, cmd.Wait(), "it was killed")
	}
}

// buy places and pays an order. The client does not know what had become of an
// earlier attempt, and sends everything again with the same keys.
func buy(ctx context.Context, url, id string) error {
	for _, request := range [][3]string{
		{http.MethodPut, "/orders/" + id, `{"customer":"ann","cents":500}`},
		{http.MethodPost, "/orders/" + id + "/payments", `{"cents":200,"payment":"p1"}`},
		{http.MethodPost, "/orders/" + id + "/payments", `{"cents":300,"payment":"p2"}`},
	} {
		r, err := http.NewRequestWithContext(ctx, request[0], url+request[1], strings.NewReader(request[2]))
		if err != nil {
			return err
		}
		r.Header.Set("Idempotency-Key", request[2])
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s: %w", response.Status, text, err)
		}
	}
	return nil
}

func TestAShopThatIsKilledDoesNothingTwiceAndForgetsNothing(t *testing.T) {
	for name, keep := range map[string]func(t *testing.T) settings{
		"in files":      onDisk,
		"in PostgreSQL": inPostgres,
	} {
		t.Run(name, func(t *testing.T) { killAgainAndAgain(t, keep(t)) })
	}
}

// inPostgres returns settings that keep everything in a new database.
func inPostgres(t *testing.T) settings {
	t.Helper()
	config, err := filepath.Abs("postgres.yaml")
	require.NoError(t, err)
	url := server.Database(t)
	t.Setenv("SHOP_POSTGRES", url)
	return settings{config: config, list: url}
}

func killAgainAndAgain(t *testing.T, s settings) {
	depot := openDepot(t)
	db, _, err := openDatabase(s.list)
	require.NoError(t, err)
	defer db.Close()
	s.warehouse = depot.url
	const customers, each = 4, 12
	buyAll := func(url string, bought func()) {
		var group sync.WaitGroup
		for c := range customers {
			group.Go(func() {
				for i := range each {
					if buy(t.Context(), url, fmt.Sprintf("%d-%d", c, i)) == nil {
						bought()
					}
				}
			})
		}
		group.Wait()
	}
	for _, after := range []int64{3, 12, 30, customers * each} {
		url, kill := startProgram(t, s)
		kill = sync.OnceFunc(kill)
		var count atomic.Int64
		buyAll(url, func() {
			if count.Add(1) == after && after < customers*each {
				kill() // while the others' orders are under way
			}
		})
		if after == customers*each {
			require.Equal(t, after, count.Load(), "everything that was sent again is answered")
			for c := range customers {
				depot.await(t, fmt.Sprintf("%d-%d", c, each-1))
			}
		}
		kill()
		store, err := all.OpenConfig(t.Context(), s.config, "orders", nil)
		require.NoError(t, err)
		for _, name := range []string{"fulfilment", "warehouse"} { // the next one begins anew, and need not wait for the lease
			require.NoError(t, store.DeleteCheckpoint(t.Context(), name))
		}
		require.NoError(t, store.Close())
		_, err = db.ExecContext(t.Context(), `UPDATE switchyard_checkpoints SET owner = ''`) // frees the list's leases
		require.NoError(t, err)
	}
	shop := start(t, s)
	depot.quiet(t, shop, "last")
	shop.due("zoe", shop.ok("PUT", "/orders/end", `{"customer":"zoe","cents":1}`)) // the list has what came before
	shop.stop()
	stored := map[string][]string{} // the types of the events, by stream
	store, err := all.OpenConfig(t.Context(), s.config, "orders", nil)
	require.NoError(t, err)
	defer store.Close()
	for event, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
		require.NoError(t, err)
		stored[event.Stream] = append(stored[event.Stream], event.Type)
	}
	for c := range customers {
		for i := range each {
			id := fmt.Sprintf("%d-%d", c, i)
			require.Equal(t, []string{"OrderPlaced", "OrderPaid", "OrderPaid"}, stored["order-"+id])
			require.Equal(t, []string{"ShipmentRequested"}, stored["shipment-"+id])
			require.Eventually(t, func() bool { return len(depot.shipments(id)) == 1 }, 20*time.Second, 5*time.Millisecond)
		}
	}
	var orders, wrong int
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*), count(nullif(due, 0)) FROM orderlist_v2`).Scan(&orders, &wrong))
	require.Equal(t, customers*each+2, orders)
	require.Equal(t, 1, wrong, "but the last there are payments that the list does not know, or has twice")
}
