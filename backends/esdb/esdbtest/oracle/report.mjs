// Runs rows one after another and prints one JSON object for each.
export async function report(rows) {
  for (const { name, run } of rows) {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error("no answer in 20 s")), 20_000);
    });
    let error = null;
    try {
      await Promise.race([run(), late]);
    } catch (err) {
      error = err.stack ?? String(err);
    }
    clearTimeout(timer);
    console.log(JSON.stringify({ row: name, error }));
  }
}
